"""Extraction gives what the model computes for each example alone, whatever the batch, and survives interruption."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from candor.activations.extraction import batches, extract_to_file, plan
from candor.activations.files import Activations, Header
from candor.activations.hooks import blocks_of
from candor.chat_text import encode
from candor.config.captures import Capture
from candor.errors import CandorError
from candor.models import Subject
from candor.schemas.status import STATUSES
from tests.small_models import BLOCKS, SENTENCES, SHAPES, WIDTH, small_folder

Maker = Callable[..., Subject]
FAMILIES = list(SHAPES)
TEXTS = [" ".join(SENTENCES[i % 4 : i % 4 + 1 + i % 3])[: 3 + 31 * (i % 7)] for i in range(11)] + [
    " ".join(SENTENCES) * 3
]
"""Twelve texts of 3 to about 1,000 characters."""
TOLERANCE = {"float32": 2e-5, "bfloat16": 4e-2}
"""Greatest difference, as a share of the layer's greatest value: batches of other shapes add up in another order."""


NOBODY = -1
"""A descriptor that progress cannot be written to."""


class Interrupted(Exception):
    """Stands for whatever ends a job half-way."""


def chats(texts: list[str]) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": text}] for text in texts]


def capture_of(**options: Any) -> Capture:
    return Capture(**{"subject": "tiny", "layers": "all", "batch_tokens": 512, **options})


def extract(
    subject: Subject, capture: Capture, folder: Path, texts: list[str] = TEXTS, shard: str = "000-of-001"
) -> Activations:
    """Extract texts, each as a user's turn, into FOLDER/SHARD.safetensors."""
    dtype = str(subject.model.dtype).removeprefix("torch.")
    header = Header(
        subject="tiny",
        revision=None,
        hook=capture.hook,
        layers=capture.stored_layers(BLOCKS),
        mean_layers=capture.means(BLOCKS),
        store=capture.store,
        width=WIDTH,
        blocks=BLOCKS,
        dtype="float32" if capture.store == "mean" else dtype,
        dataset="rows",
        dataset_sha256="d" * 64,
        shard=shard,
        example_ids=[f"{shard}-{i}" for i in range(len(texts))],
        sample_indices=[0] * len(texts),
    )
    output = folder / f"{shard}.safetensors"
    made = {"spec": {}, "code": "0"}
    counts = extract_to_file(subject, chats(texts), capture, header, made, output, folder / "partial", NOBODY)
    found = Activations([output])
    assert counts == {status: found.statuses.count(status) for status in sorted(set(found.statuses))}
    return found


def one_at_a_time(subject: Subject, text: str, hook: str) -> list[Tensor]:
    """Each layer's [tokens, width] from the model as transformers runs it: no batch, no padding, no early stop."""
    seen: list[Tensor] = []
    blocks = blocks_of(subject.model)
    modules = [block.input_layernorm for block in blocks] if hook == "input_layernorm" else list(blocks)
    handles = [
        m.register_forward_hook(lambda _m, _i, o: seen.append(o[0] if isinstance(o, tuple) else o)) for m in modules
    ]
    ids = encode(chats([text])[0], subject.tokenizer, 10_000, "left").token_ids
    with torch.no_grad():
        subject.model(input_ids=torch.tensor([ids]), use_cache=False)
    for handle in handles:
        handle.remove()
    return [each[0] for each in seen]


def assert_close(found: Tensor, expected: Tensor) -> None:
    tolerance = TOLERANCE[str(expected.dtype).removeprefix("torch.")]
    torch.testing.assert_close(found.float(), expected.float(), rtol=0, atol=tolerance * expected.abs().max().item())


def rows_of(found: Activations, layer: int) -> list[Tensor]:
    return list(found.layer(layer).split(found.lengths().tolist()))


@contextmanager
def failing_after(subject: Subject, n: int) -> Iterator[None]:
    """The model raises at its batch number n, counted from 0."""
    calls = []

    def count(*_: Any) -> None:
        calls.append(1)
        if len(calls) > n:
            raise Interrupted

    handle = subject.model.get_input_embeddings().register_forward_hook(count)
    yield
    handle.remove()


@contextmanager
def counting(module: torch.nn.Module) -> Iterator[list[int]]:
    """A list that grows by one with each call of a module."""
    calls: list[int] = []
    handle = module.register_forward_hook(lambda *_: calls.append(1))
    yield calls
    handle.remove()


# --- the numbers


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("hook", ["residual", "input_layernorm"])
@pytest.mark.parametrize("family", FAMILIES)
def test_batches_give_what_one_example_at_a_time_gives(
    tiny: Maker, tmp_path: Path, family: str, hook: str, dtype: str
) -> None:
    subject = tiny(family, dtype)
    found = extract(subject, capture_of(hook=hook, drop_first=0), tmp_path)
    assert len(batches(plan(subject, chats(TEXTS), capture_of()), capture_of())) > 1
    for i, text in enumerate(TEXTS):
        for layer, expected in enumerate(one_at_a_time(subject, text, hook)):
            assert_close(rows_of(found, layer)[i], expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_are_numbered_as_the_convention_says(tiny: Maker, tmp_path: Path, family: str) -> None:
    """residual k = hidden_states[k + 1], save the last, which transformers norms; input_layernorm k = normed [k]."""
    subject = tiny(family)
    residual = extract(subject, capture_of(drop_first=0), tmp_path / "residual", TEXTS[:2])
    normed = extract(subject, capture_of(drop_first=0, hook="input_layernorm"), tmp_path / "normed", TEXTS[:2])
    ids = torch.tensor([encode(chats(TEXTS[:1])[0], subject.tokenizer, 10_000, "left").token_ids])
    with torch.no_grad():
        hidden = subject.model(input_ids=ids, output_hidden_states=True).hidden_states
        for layer, block in enumerate(blocks_of(subject.model)):
            assert_close(rows_of(normed, layer)[0], block.input_layernorm(hidden[layer])[0])
            last = rows_of(residual, layer)[0]
            final = layer == BLOCKS - 1
            assert_close(subject.model.base_model.norm(last) if final else last, hidden[layer + 1][0])


@pytest.mark.parametrize("store", ["mean", "positions"])
def test_means_and_positions_are_those_of_the_kept_tokens(tiny: Maker, tmp_path: Path, store: str) -> None:
    subject = tiny(dtype="bfloat16")
    whole = extract(subject, capture_of(drop_first=2), tmp_path / "tokens")
    positions = {"positions": [0, -1, 40]} if store == "positions" else {}
    part = extract(subject, capture_of(drop_first=2, store=store, **positions), tmp_path / store)
    for layer in range(BLOCKS):
        for rows, found in zip(rows_of(whole, layer), rows_of(part, layer), strict=True):
            kept = [0, -1, 40] if len(rows) > 40 else [0, -1]
            expected = rows.float().mean(0, keepdim=True) if store == "mean" else rows[kept]
            torch.testing.assert_close(found, expected)
    assert part.header.dtype == ("float32" if store == "mean" else "bfloat16")


def test_means_of_further_layers_come_from_the_same_pass(tiny: Maker, tmp_path: Path) -> None:
    subject = tiny()
    whole = extract(subject, capture_of(), tmp_path / "tokens")
    with counting(subject.model.get_input_embeddings()) as passes:
        both = extract(subject, capture_of(layers=[1], mean_layers=[0, 3]), tmp_path / "both")
    assert len(passes) == len(batches(plan(subject, chats(TEXTS), capture_of()), capture_of()))
    assert torch.equal(both.layer(1), whole.layer(1))
    for layer in (0, 1, 3):
        torch.testing.assert_close(both.means(layer), whole.means(layer))


def test_rows_say_which_token_they_stand_for(tiny: Maker, tmp_path: Path) -> None:
    subject = tiny()
    found = extract(subject, capture_of(drop_first=1), tmp_path)
    for i, text in enumerate(TEXTS):
        encoded = encode(chats([text])[0], subject.tokenizer, 10_000, "left")
        rows = slice(*[int(n) for n in torch.cat([torch.zeros(1), found.lengths().cumsum(0)])[i : i + 2]])
        assert found.index("token_ids")[rows].tolist() == encoded.token_ids[1:]
        assert found.index("roles")[rows].tolist() == encoded.roles[1:]
        assert found.index("positions")[rows].tolist() == list(range(1, len(encoded.token_ids)))
        assert found.n_tokens[i] == len(encoded.token_ids) - 1


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_token_budget_changes_nothing_but_rounding(tiny: Maker, tmp_path: Path, dtype: str) -> None:
    subject = tiny(dtype=dtype)
    small = extract(subject, capture_of(batch_tokens=1), tmp_path / "small")
    large = extract(subject, capture_of(batch_tokens=100_000), tmp_path / "large")
    for layer in range(BLOCKS):
        assert_close(small.layer(layer), large.layer(layer))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pad", ["<|im_end|>", "<|im_start|>", "a"])
def test_how_the_tokenizer_pads_changes_nothing(tiny: Maker, tmp_path: Path, side: str, pad: str) -> None:
    subject = tiny()
    expected = extract(subject, capture_of(), tmp_path / "before").layer(3)
    subject.tokenizer.padding_side, subject.tokenizer.pad_token = side, pad
    assert torch.equal(extract(subject, capture_of(), tmp_path / "after").layer(3), expected)


# --- what is not computed


@pytest.mark.parametrize("hook", ["residual", "input_layernorm"])
def test_nothing_runs_after_the_deepest_layer(tiny: Maker, tmp_path: Path, hook: str) -> None:
    subject = tiny()
    blocks = blocks_of(subject.model)
    with counting(blocks[1].mlp) as deepest, counting(blocks[2]) as after, counting(subject.model.lm_head) as logits:
        extract(subject, capture_of(layers=[1, 0], hook=hook), tmp_path)
    assert (bool(deepest), after, logits) == (hook == "residual", [], [])


def test_no_logits_are_computed_for_the_last_layer(tiny: Maker, tmp_path: Path) -> None:
    subject = tiny()
    with counting(subject.model.lm_head) as logits, counting(subject.model.base_model.norm) as norm:
        extract(subject, capture_of(), tmp_path)
    assert (logits, norm) == ([], [])


def test_the_model_is_left_as_it_was(tiny: Maker, tmp_path: Path) -> None:
    subject = tiny()
    ids = torch.tensor([[5, 6, 7]])
    before = subject.model(input_ids=ids, output_hidden_states=True)
    extract(subject, capture_of(layers=[0]), tmp_path)
    after = subject.model(input_ids=ids, output_hidden_states=True)
    assert torch.equal(before.logits, after.logits)
    assert len(before.hidden_states) == len(after.hidden_states) == BLOCKS + 1


def test_a_layer_that_the_model_does_not_have_is_a_sentence(tiny: Maker, tmp_path: Path) -> None:
    with pytest.raises(CandorError, match=r"there is no block 4: the model has 4 blocks, 0 to 3"):
        extract(tiny(), capture_of(layers=[0, 4]), tmp_path)


# --- what becomes of examples


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_long_example_is_cut_kept_and_counted(tiny: Maker, tmp_path: Path, side: str) -> None:
    subject = tiny()
    found = extract(subject, capture_of(max_tokens=30, truncate=side, drop_first=0), tmp_path)
    for i, text in enumerate(TEXTS):
        whole = encode(chats([text])[0], subject.tokenizer, 10_000, side)
        assert found.statuses[i] == ("truncated" if len(whole.token_ids) > 30 else "ok")
        assert found.n_tokens[i] == min(len(whole.token_ids), 30)
    assert {"ok", "truncated"} == set(found.statuses)
    rows = rows_of(found, 3)[-1]
    assert rows.isfinite().all()
    assert rows.shape == (30, WIDTH)


@pytest.mark.parametrize("store", ["tokens", "mean"])
def test_an_example_that_keeps_no_token_is_empty(tiny: Maker, tmp_path: Path, store: str) -> None:
    subject = tiny()
    subject.tokenizer.chat_template = None
    texts = ["", TEXTS[-1], "a", TEXTS[-2]]
    found = extract(subject, capture_of(store=store, mean_layers=[0]), tmp_path, texts)
    assert found.statuses == ["empty", "ok", "empty", "ok"]
    assert found.n_tokens[0] == found.n_tokens[2] == 0
    assert found.lengths().tolist()[::2] == [0, 0]
    assert not found.means(0)[[0, 2]].any()
    assert found.means(0)[[1, 3]].any(1).all()


def test_positions_beyond_a_short_example_are_left_out(tiny: Maker, tmp_path: Path) -> None:
    subject = tiny()
    lengths = [len(encode(chat, subject.tokenizer, 10_000, "left").token_ids) for chat in chats(TEXTS)]
    found = extract(subject, capture_of(store="positions", positions=[100], drop_first=1), tmp_path)
    assert found.statuses == ["ok" if length > 101 else "empty" for length in lengths]


def test_a_token_that_two_positions_name_is_stored_once(tiny: Maker, tmp_path: Path) -> None:
    subject = tiny()
    lengths = [len(encode(chat, subject.tokenizer, 10_000, "left").token_ids) for chat in chats(TEXTS)]
    kept = [length - min(lengths) + 1 for length in lengths]
    capture = capture_of(store="positions", positions=[0, -1], drop_first=min(lengths) - 1)
    found = extract(subject, capture, tmp_path)
    assert found.lengths().tolist() == found.n_tokens == [min(n, 2) for n in kept]
    assert 1 in found.n_tokens and 2 in found.n_tokens


@pytest.mark.parametrize("texts", [[], [""], ["", "a"]])
def test_a_shard_without_a_token_is_a_file_without_rows(tiny: Maker, tmp_path: Path, texts: list[str]) -> None:
    subject = tiny()
    subject.tokenizer.chat_template = None
    found = extract(subject, capture_of(), tmp_path, texts)
    assert found.statuses == ["empty"] * len(texts)
    assert found.layer(0).shape == (0, WIDTH)


@pytest.mark.parametrize("store", ["tokens", "mean"])
@pytest.mark.parametrize("broken", ["Is", "<|im_start|>"], ids=["a word", "entry 0, a common pad"])
def test_an_example_that_is_not_finite_is_marked_and_harms_no_other(
    tiny: Maker, tmp_path: Path, store: str, broken: str
) -> None:
    subject = tiny()
    subject.tokenizer.chat_template = None
    id = subject.tokenizer(broken)["input_ids"][0]
    texts = [" ".join(SENTENCES[2:]), "The dog sleeps on.", f"{broken} the reactor safe?", "A dog."]
    capture = capture_of(store=store, batch_tokens=100_000)
    sound = extract(subject, capture, tmp_path / "sound", texts)
    with torch.no_grad():
        subject.model.get_input_embeddings().weight[id] = float("nan")
    found = extract(subject, capture, tmp_path / "broken", texts)
    assert found.statuses == ["ok", "ok", "not_finite", "ok"]
    for layer in range(BLOCKS):
        for status, rows, before in zip(found.statuses, rows_of(found, layer), rows_of(sound, layer), strict=True):
            assert torch.equal(rows, before) == (status == "ok")


def test_a_model_that_gives_nothing_finite_is_a_sentence(tiny: Maker, tmp_path: Path) -> None:
    subject = tiny()
    with torch.no_grad():
        subject.model.get_input_embeddings().weight.fill_(float("nan"))
    with pytest.raises(CandorError, match=r"all 12 examples of rows have .* not finite; try dtype: float32 for tiny"):
        extract(subject, capture_of(), tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))


# --- interruption


@pytest.mark.parametrize("store", ["tokens", "mean"])
def test_an_interrupted_run_computes_only_what_is_missing(tiny: Maker, tmp_path: Path, store: str) -> None:
    subject, capture = tiny(dtype="bfloat16"), capture_of(store=store, mean_layers=[2], batch_tokens=300)
    extract(subject, capture, tmp_path / "undisturbed")
    total = len(batches(plan(subject, chats(TEXTS), capture), capture))
    for done in (2, 1):
        with failing_after(subject, done), pytest.raises(Interrupted):
            extract(subject, capture, tmp_path)
        assert not list(tmp_path.glob("*.safetensors"))
    with counting(subject.model.get_input_embeddings()) as passes:
        extract(subject, capture, tmp_path)
    assert len(passes) == total - 3
    same_files(tmp_path)


def same_files(folder: Path) -> None:
    """The file in a folder is that of the undisturbed run, and no unfinished work is left."""
    name = "000-of-001.safetensors"
    assert (folder / name).read_bytes() == (folder / "undisturbed" / name).read_bytes()
    assert not list((folder / "partial").iterdir())


@pytest.mark.parametrize(
    "tail", [b'{"not_fin', b"\0\0\0", b"\xff\xfe", b"7\n", b'{"other": 1}\n', b'{"not_finite": []}'], ids=repr
)
def test_a_journal_with_a_damaged_end_is_survived(tiny: Maker, tmp_path: Path, tail: bytes) -> None:
    subject, capture = tiny(), capture_of(batch_tokens=300)
    extract(subject, capture, tmp_path / "undisturbed")
    with failing_after(subject, 3), pytest.raises(Interrupted):
        extract(subject, capture, tmp_path)
    (journal,) = (tmp_path / "partial").glob("*/journal.jsonl")
    whole = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(whole[:2]) + tail)
    with failing_after(subject, 0), pytest.raises(Interrupted):  # what is left is sound for a second interruption
        extract(subject, capture, tmp_path)
    assert all(json.loads(line) == {"not_finite": []} for line in journal.read_text().splitlines())
    extract(subject, capture, tmp_path)
    same_files(tmp_path)


def test_an_unfinished_file_of_another_size_is_begun_again(tiny: Maker, tmp_path: Path) -> None:
    subject, capture = tiny(), capture_of(batch_tokens=300)
    extract(subject, capture, tmp_path / "undisturbed")
    with failing_after(subject, 3), pytest.raises(Interrupted):
        extract(subject, capture, tmp_path)
    (unfinished,) = (tmp_path / "partial").glob("*/activations.safetensors")
    unfinished.write_bytes(unfinished.read_bytes()[:-100])
    extract(subject, capture, tmp_path)
    same_files(tmp_path)


def test_unfinished_work_of_another_capture_is_not_taken_up(tiny: Maker, tmp_path: Path) -> None:
    subject = tiny()
    with failing_after(subject, 2), pytest.raises(Interrupted):
        extract(subject, capture_of(batch_tokens=300), tmp_path)
    found = extract(subject, capture_of(batch_tokens=300, generation_prompt=True), tmp_path)
    expected = extract(subject, capture_of(batch_tokens=300, generation_prompt=True), tmp_path / "fresh")
    assert torch.equal(found.layer(0), expected.layer(0))


def test_not_finite_examples_are_remembered_over_an_interruption(tiny: Maker, tmp_path: Path) -> None:
    subject, capture = tiny(), capture_of(batch_tokens=300)
    subject.tokenizer.chat_template = None
    texts = [*TEXTS, " ".join(SENTENCES) * 4 + " ~"]  # the longest comes first
    with torch.no_grad():
        subject.model.get_input_embeddings().weight[subject.tokenizer("~")["input_ids"]] = float("nan")
    with failing_after(subject, 2), pytest.raises(Interrupted):
        extract(subject, capture, tmp_path, texts)
    assert extract(subject, capture, tmp_path, texts).statuses == [*["ok"] * 12, "not_finite"]


KILLED = """
import os, signal, sys
sys.path[:0] = {paths!r}
from pathlib import Path
from candor.models import load_folder
from tests.unit.test_extraction import capture_of, extract
subject = load_folder({model!r}, "cpu", "float32")
calls = []
def kill(*_):
    calls.append(1)
    if len(calls) > 2:
        os.kill(os.getpid(), signal.SIGKILL)
subject.model.get_input_embeddings().register_forward_hook(kill)
extract(subject, capture_of(batch_tokens=300), Path({folder!r}))
"""


def test_a_killed_process_leaves_work_that_the_next_takes_up(tiny: Maker, tmp_path: Path) -> None:
    subject, capture = tiny(), capture_of(batch_tokens=300)
    small_folder(tmp_path / "model")
    extract(subject, capture, tmp_path / "undisturbed")
    root = Path(__file__).parents[2]
    paths = [str(root), str(root / "scripts")]
    code = KILLED.format(paths=paths, model=str(tmp_path / "model"), folder=str(tmp_path))
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    with counting(subject.model.get_input_embeddings()) as passes:
        extract(subject, capture, tmp_path)
    assert len(passes) == len(batches(plan(subject, chats(TEXTS), capture), capture)) - 2
    same_files(tmp_path)


def test_statuses_are_of_the_one_list(tiny: Maker, tmp_path: Path) -> None:
    assert set(extract(tiny(), capture_of(), tmp_path).statuses) <= set(STATUSES)
