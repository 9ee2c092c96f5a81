"""Activation verbalisers and reconstructors of the release's format, against transformers' own way of running them."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from candor.config.models import FolderModel
from candor.config.samplings import Sampling
from candor.models import Subject
from candor.verbalisers import explanation, nla, reconstruct
from candor.verbalisers.explanation import Explanation
from candor.verbalisers.nla import ActivationVerbaliser, VerbaliserError
from candor.verbalisers.reconstruct import Reconstructor
from candor.verbalisers.sidecar import Sidecar, read_sidecar
from tests.small_models import BLOCKS, WIDTH
from tests.small_verbalisers import (
    AR_PROMPT,
    LAYER,
    SIGN,
    WORDS,
    entry_of,
    meta,
    reconstructor_folder,
    small_verbaliser,
    verbaliser_folder,
    verbaliser_tokenizer,
)

GREEDY = Sampling(temperature=0, max_new_tokens=12)
DRAWN = Sampling(temperature=1, top_p=0.95, max_new_tokens=12, seed=3)


def sidecar(role: str = "av", **changes: Any) -> Sidecar:
    return Sidecar.model_validate(yaml.safe_load(meta(role, **changes)))


def vectors(n: int, scale: float = 7.0) -> Tensor:
    return torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(5)) * scale


def facts_of(folder: Path) -> dict[str, Any]:
    from candor import models

    return {**models.describe(folder)._asdict(), "chat_template": None}


def by_transformers(subject: Subject, vector: Tensor, length: int) -> str:
    """What the model says where the sign's own embedding is the vector, at the sidecar's length."""
    sign = subject.tokenizer.convert_tokens_to_ids(SIGN)
    weights = subject.model.get_input_embeddings().weight
    subject.model.lm_head.weight = nn.Parameter(subject.model.lm_head.weight.clone())  # where the two are one
    multiplied = getattr(subject.model.get_input_embeddings(), "scalar_embed_scale", 1.0)
    before = weights[sign].clone()
    said = ActivationVerbaliser(subject, sidecar()).prompt
    with torch.no_grad():
        weights[sign] = vector / vector.norm() * 150 / multiplied
        ids = torch.tensor([said])
        new = subject.model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=length, pad_token_id=0
        )[0, len(said) :]
        weights[sign] = before
    return str(subject.tokenizer.decode(new, skip_special_tokens=True))


class TestVerbaliser:
    @pytest.mark.parametrize("family", ["qwen2", "llama", "gemma3"])
    def test_it_reads_the_vector_as_the_sign_s_embedding(self, family: str) -> None:
        """Gemma multiplies its embeddings, and the vector takes its place behind that."""
        subject = small_verbaliser(family)
        given = vectors(5)
        said = ActivationVerbaliser(subject, sidecar()).verbalise(given, list("abcde"), GREEDY)
        expected = [explanation.read(by_transformers(subject, vector, 12), cut=True) for vector in given]
        assert said == expected
        if family != "gemma3":  # a small random one repeats itself
            assert len(set(expected)) > 1, "the words must depend on the vector"

    def test_only_its_direction_counts(self) -> None:
        speaker = ActivationVerbaliser(small_verbaliser(), sidecar())
        given = vectors(3)
        assert speaker.verbalise(given, list("abc"), GREEDY) == speaker.verbalise(given * 900, list("abc"), GREEDY)
        embedded = speaker.embedded(given)
        at = speaker.prompt.index(sidecar().tokens.injection_token_id)
        assert embedded[:, at].norm(dim=-1).tolist() == pytest.approx([150.0] * 3, rel=1e-5)
        rest = [place for place in range(len(speaker.prompt)) if place != at]
        assert torch.equal(embedded[0, rest], embedded[2, rest])

    @pytest.mark.parametrize("sampling", [GREEDY, DRAWN])
    def test_words_depend_on_nothing_beside_them(self, sampling: Sampling) -> None:
        speaker = ActivationVerbaliser(small_verbaliser(), sidecar())
        given, names = vectors(5), list("abcde")
        together = speaker.verbalise(given, names, sampling)
        alone = [speaker.verbalise(given[i : i + 1], names[i : i + 1], sampling)[0] for i in range(5)]
        assert together == alone
        assert together == speaker.verbalise(given, names, sampling)

    def test_draws_depend_on_seed_and_name(self) -> None:
        speaker = ActivationVerbaliser(small_verbaliser(), sidecar())
        given = vectors(1)
        texts = [
            speaker.verbalise(given, [name], Sampling(temperature=1, max_new_tokens=12, seed=seed))[0].text
            for name, seed in (("a", 0), ("b", 0), ("a", 1))
        ]
        assert len(set(texts)) == 3

    def test_vectors_without_a_direction_are_not_read(self) -> None:
        given = vectors(4)
        given[1] = 0
        given[2, 3] = float("nan")
        given[3, 3] = float("inf")
        speaker = ActivationVerbaliser(small_verbaliser(), sidecar())
        said = speaker.verbalise(given, list("abcd"), GREEDY)
        assert [each.status for each in said] == ["unparseable", "invalid", "not_finite", "not_finite"]
        assert said[0] == speaker.verbalise(given[:1], ["a"], GREEDY)[0]
        assert [each.text for each in said[1:]] == ["", "", ""]
        assert speaker.verbalise(given[1:2], ["b"], GREEDY) == [Explanation("", "invalid")]

    def test_logits_that_are_not_finite(self) -> None:
        subject = small_verbaliser()
        with torch.no_grad():
            subject.model.lm_head.weight[7] = float("nan")  # type: ignore[union-attr]
        said = ActivationVerbaliser(subject, sidecar()).verbalise(vectors(2), ["a", "b"], GREEDY)
        assert said == [Explanation("", "not_finite")] * 2

    def test_a_released_folder_speaks(self, tmp_path: Path) -> None:
        folder = verbaliser_folder(tmp_path / "av")
        speaker = nla.load(FolderModel(**entry_of(folder)), facts_of(folder))
        said = speaker.verbalise(vectors(3), list("abc"), GREEDY)
        assert said == [Explanation("".join(WORDS[1:-1]).strip(), "ok")] * 3
        cut = speaker.verbalise(vectors(3), list("abc"), GREEDY.model_copy(update={"max_new_tokens": 3}))
        assert cut == [Explanation("quiet dog", "truncated")] * 3

    def test_other_widths_are_refused(self) -> None:
        with pytest.raises(
            VerbaliserError, match=r"its weights have width 32, and its nla_meta\.yaml says d_model: 64"
        ):
            ActivationVerbaliser(small_verbaliser(), sidecar(d_model=64))
        with pytest.raises(VerbaliserError, match="have width 16, and the verbaliser reads 32"):
            ActivationVerbaliser(small_verbaliser(), sidecar()).verbalise(torch.ones(1, 16), ["a"], GREEDY)

    def test_another_tokenizer_is_refused(self) -> None:
        tokens = yaml.safe_load(meta("av"))["tokens"]
        with pytest.raises(VerbaliserError, match=r"and its nla_meta\.yaml says token 7; take the tokenizer"):
            ActivationVerbaliser(small_verbaliser(), sidecar(tokens={**tokens, "injection_token_id": 7}))
        with pytest.raises(VerbaliserError, match="stands 1 times in the prompt, with the neighbours"):
            ActivationVerbaliser(small_verbaliser(), sidecar(tokens={**tokens, "injection_left_neighbor_id": 7}))
        prompts = {"av": f"{SIGN}: <concept>{{injection_char}}</concept>"}
        with pytest.raises(VerbaliserError, match="stands 2 times in the prompt"):
            ActivationVerbaliser(small_verbaliser(), sidecar(prompt_templates=prompts))
        subject = small_verbaliser()
        subject.tokenizer.chat_template = None
        with pytest.raises(VerbaliserError, match="its tokenizer has no chat template"):
            ActivationVerbaliser(subject, sidecar())


TEXTS = ["The dog sleeps on.", "Quiet.", "A {brace} and <text>tags</text>, with größer words: 3,14.", ""]


class TestReconstructor:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return reconstructor_folder(tmp_path / "ar")

    def load(self, folder: Path) -> Reconstructor:
        return reconstruct.load(FolderModel(**entry_of(folder)), facts_of(folder))

    @pytest.mark.parametrize("batch_tokens", [1, 4000])
    def test_it_is_the_last_block_s_output_at_the_last_token_through_the_map(
        self, folder: Path, batch_tokens: int
    ) -> None:
        network: Any = AutoModelForCausalLM.from_pretrained(folder)
        network.model.norm = nn.Identity()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        head = load_file(folder / "value_head.safetensors")["weight"]
        made = self.load(folder).reconstruct(TEXTS, batch_tokens)
        for text, vector in zip(TEXTS, made, strict=True):
            ids = tokenizer(AR_PROMPT.replace("{explanation}", text), return_tensors="pt")["input_ids"]
            with torch.inference_mode():
                expected = network.model(ids).last_hidden_state[0, -1] @ head.T
            assert torch.allclose(vector, expected, atol=1e-4)

    def test_no_texts(self, folder: Path) -> None:
        assert self.load(folder).reconstruct([]).shape == (0, WIDTH)

    def test_other_blocks_widths_and_tokenizers_are_refused(self, folder: Path) -> None:
        subject, head = small_verbaliser(), torch.eye(WIDTH)
        with pytest.raises(
            VerbaliserError, match=f"have {BLOCKS} blocks of width 32, and its nla_meta.yaml says layer"
        ):
            Reconstructor(subject.model, subject.tokenizer, head, sidecar("ar"))
        found = self.load(folder)
        other = sidecar("ar", tokens={**yaml.safe_load(meta("ar"))["tokens"], "critic_suffix_ids": [7, 8]})
        with pytest.raises(VerbaliserError, match=r"and its nla_meta.yaml says \[7, 8\]; take the tokenizer"):
            Reconstructor(found._network, verbaliser_tokenizer(), head, other)
        with pytest.raises(VerbaliserError, match=r"value_head.safetensors is \[32, 16\], not \[32, 32\]"):
            Reconstructor(found._network, verbaliser_tokenizer(), head[:, :16], sidecar("ar"))

    @pytest.mark.parametrize(
        ("tensors", "said"),
        [
            (None, "no such file; a reconstructor has its linear map beside it"),
            ({"bias": torch.zeros(WIDTH)}, "holds ['bias'], not one finite matrix"),
            ({"weight": torch.full((WIDTH, WIDTH), torch.nan)}, "not one finite matrix"),
        ],
    )
    def test_its_map_must_be_there(self, folder: Path, tensors: dict[str, Tensor] | None, said: str) -> None:
        (folder / "value_head.safetensors").unlink()
        if tensors is not None:
            save_file(tensors, folder / "value_head.safetensors")
        with pytest.raises(VerbaliserError, match=re.escape(said)):
            self.load(folder)

    def test_blocks_that_are_not_there_are_not_made_up(self, folder: Path) -> None:
        kept = load_file(folder / "model.safetensors")
        del kept["model.layers.1.mlp.up_proj.weight"]
        save_file(kept, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(VerbaliserError, match=r"lack 1 tensors, first layers.1.mlp.up_proj.weight"):
            self.load(folder)

    def test_the_pair_has_the_layer_that_we_count(self, folder: Path) -> None:
        assert read_sidecar(folder, "reconstructor").extraction_layer_index == LAYER
