"""Log-probabilities are those of a plain forward pass, whatever the batch, and nothing runs where none are asked."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from candor.activations import likelihood
from candor.activations.extraction import batches, extract_to_file, plan
from candor.activations.files import Activations, ActivationsError, Header
from candor.chat_text import encode
from candor.config.captures import Capture
from candor.models import Subject
from tests.small_models import BLOCKS, SHAPES, WIDTH
from tests.unit.test_extraction import NOBODY, TEXTS, Interrupted, Maker, chats, failing_after


def capture_of(**options: object) -> Capture:
    return Capture.model_validate({"subject": "tiny", "layers": [1], "batch_tokens": 512, "log_probs": True, **options})


def extract(subject: Subject, capture: Capture, folder: Path) -> Activations:
    """Extract TEXTS, each as a user's turn, into FOLDER/a.safetensors."""
    header = Header(
        subject="tiny",
        revision=None,
        hook=capture.hook,
        layers=capture.stored_layers(BLOCKS),
        mean_layers=capture.means(BLOCKS),
        store=capture.store,
        width=WIDTH,
        blocks=BLOCKS,
        dtype="float32",
        dataset="rows",
        dataset_sha256="d" * 64,
        shard="000-of-001",
        example_ids=[str(i) for i in range(len(TEXTS))],
        sample_indices=[0] * len(TEXTS),
        log_probs=capture.log_probs,
    )
    output = folder / "a.safetensors"
    extract_to_file(subject, chats(TEXTS), capture, header, {}, output, folder / "partial", NOBODY)
    return Activations([output])


def plain(subject: Subject, text: str, capture: Capture) -> Tensor:
    """The log-probabilities of a text's kept tokens from the model's own logits: no batch, no padding."""
    encoded = encode(chats([text])[0], subject.tokenizer, capture.max_tokens, capture.truncate)
    ids = torch.tensor([encoded.token_ids])
    with torch.no_grad():
        logits = subject.model(input_ids=ids).logits[0, :-1]
    found: Tensor = logits.double().log_softmax(1).gather(1, ids[0, 1:, None]).squeeze(1)
    return found[capture.drop_first - 1 :].float()


@pytest.mark.parametrize("family", list(SHAPES))
def test_they_are_those_of_a_plain_forward_pass(tiny: Maker, tmp_path: Path, family: str) -> None:
    subject, capture = tiny(family), capture_of()
    assert len(batches(plan(subject, chats(TEXTS), capture), capture)) > 1
    found = extract(subject, capture, tmp_path)
    for text, own in zip(TEXTS, found.log_probs().split(found.lengths().tolist()), strict=True):
        torch.testing.assert_close(own, plain(subject, text, capture), rtol=1e-4, atol=1e-4)
    assert found.log_probs().dtype == torch.float32


def test_scaled_and_capped_logits_are_those_of_the_model(tiny: Maker, tmp_path: Path) -> None:
    subject, capture = tiny("gemma2"), capture_of()
    subject.model.config.final_logit_softcapping = 0.5
    found = extract(subject, capture, tmp_path)
    for text, own in zip(TEXTS, found.log_probs().split(found.lengths().tolist()), strict=True):
        torch.testing.assert_close(own, plain(subject, text, capture), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [{"drop_first": 3}, {"max_tokens": 30}, {"max_tokens": 30, "truncate": "right"}])
def test_they_are_of_the_kept_tokens_given_what_was_read(tiny: Maker, tmp_path: Path, options: dict[str, int]) -> None:
    subject, capture = tiny(), capture_of(**options)
    found = extract(subject, capture, tmp_path)
    for text, own in zip(TEXTS, found.log_probs().split(found.lengths().tolist()), strict=True):
        torch.testing.assert_close(own, plain(subject, text, capture), rtol=1e-4, atol=1e-4)


def test_with_means_the_mean_of_a_text_is_stored(tiny: Maker, tmp_path: Path) -> None:
    subject, capture = tiny(), capture_of(store="mean")
    found = extract(subject, capture, tmp_path).log_probs()
    expected = torch.stack([plain(subject, text, capture).mean() for text in TEXTS])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_head_runs_on_a_few_rows_at_a_time(tiny: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject, capture = tiny(), capture_of(batch_tokens=100_000)
    whole = extract(subject, capture, tmp_path / "whole").log_probs()
    monkeypatch.setitem(likelihood.ROWS, "cpu", 7)
    seen: list[int] = []
    handle = subject.model.lm_head.register_forward_hook(lambda _m, inputs, _o: seen.append(len(inputs[0])))
    found = extract(subject, capture, tmp_path / "blocks").log_probs()
    handle.remove()
    torch.testing.assert_close(found, whole)
    assert max(seen) == 7 and sum(seen) == len(whole)


def test_activations_are_the_same_with_and_without(tiny: Maker, tmp_path: Path) -> None:
    subject = tiny()
    found = [extract(subject, capture_of(log_probs=asked), tmp_path / str(asked)).layer(1) for asked in (True, False)]
    assert torch.equal(*found)


def test_an_interrupted_run_gives_the_same_file(tiny: Maker, tmp_path: Path) -> None:
    subject, capture = tiny(), capture_of(batch_tokens=300)
    extract(subject, capture, tmp_path / "undisturbed")
    with failing_after(subject, 2), pytest.raises(Interrupted):
        extract(subject, capture, tmp_path)
    extract(subject, capture, tmp_path)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "undisturbed/a.safetensors").read_bytes()


def test_a_file_without_them_says_so_and_older_files_are_read(tiny: Maker, tmp_path: Path) -> None:
    found = extract(tiny(), capture_of(log_probs=False), tmp_path)
    with pytest.raises(ActivationsError, match="holds no log-probabilities of tokens; set `log_probs: true`"):
        found.log_probs()
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        metadata = file.metadata()
    header = json.loads(metadata["capture"])
    del header["log_probs"]
    metadata["capture"] = json.dumps(header)
    save_file(load_file(tmp_path / "a.safetensors"), tmp_path / "older.safetensors", metadata)
    assert torch.equal(Activations([tmp_path / "older.safetensors"]).layer(1), found.layer(1))


@pytest.mark.parametrize(
    "options", [{"drop_first": 0}, {"store": "positions", "positions": [-1]}, {"store": "spans", "spans": ["end"]}]
)
def test_they_are_of_all_tokens_but_the_first(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="`log_probs`, which are of all tokens but the first"):
        capture_of(**options)
