"""Log-probabilities of two endings: the same as those of whole texts read one by one, each shared token read once."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from candor.activations.hooks import blocks_of
from candor.baselines.branches import BranchesError, endings
from candor.baselines.prompts import Encoded
from candor.models import Subject
from tests.small_models import SENTENCES, SHAPES, small_subject, small_tokenizer

TOKENIZER = small_tokenizer()


def ids(text: str) -> list[int]:
    return list(TOKENIZER(text)["input_ids"])


def some_prompts(beginning: str = SENTENCES[1]) -> list[Encoded]:
    """Prompts of many lengths that begin alike, with endings of one token to several."""
    pairs = [(" dog", " fox"), (" the lazy dog sleeps", " 12 bar"), (" a", " briefly, and say so")]
    return [
        Encoded(ids(beginning + text[:length]), (ids(pairs[i % 3][0]), ids(pairs[i % 3][1])), False)
        for i, (text, length) in enumerate((text, length) for text in SENTENCES for length in (1, 9, 40))
    ]


def by_whole_texts(subject: Subject, prompt: Encoded) -> list[float]:
    """Log-probabilities of the two endings, by the plainest way: two passes over the whole texts."""
    found = []
    for end in prompt.ends:
        with torch.inference_mode():
            logits = subject.model(torch.tensor([prompt.shared + end])).logits[0].double().log_softmax(-1)
        places = range(len(prompt.shared) - 1, len(prompt.shared) + len(end) - 1)
        found.append(sum(float(logits[at, token]) for at, token in zip(places, end, strict=True)))
    return found


def compared(subject: Subject, prompts: list[Encoded], batch_tokens: int) -> Iterator[tuple[list[float], list[float]]]:
    found = {each.place: list(each.log_probabilities) for each in endings(subject.model, prompts, batch_tokens)}
    assert sorted(found) == list(range(len(prompts)))
    return ((found[i], by_whole_texts(subject, prompt)) for i, prompt in enumerate(prompts))


class Read:
    """Counts the tokens that go through a network's first block, and the places that its output head is computed at."""

    def __init__(self, subject: Subject) -> None:
        self.tokens = self.foretold = 0
        blocks_of(subject.model)[0].register_forward_hook(self._tokens)
        subject.model.get_output_embeddings().register_forward_hook(self._head)

    def _tokens(self, _module: object, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        self.tokens += (output[0] if isinstance(output, tuple) else output).shape[-2]

    def _head(self, _module: object, _inputs: object, output: Tensor) -> None:
        self.foretold += output.shape[-2]


@pytest.mark.parametrize("batch_tokens", [1, 150, 100_000])
@pytest.mark.parametrize("family", sorted(SHAPES))
def test_they_are_those_of_two_whole_passes(family: str, batch_tokens: int) -> None:
    for found, naive in compared(small_subject(TOKENIZER, family), some_prompts(), batch_tokens):
        assert found == pytest.approx(naive, abs=1e-4)


@pytest.mark.parametrize("beginning", ["", SENTENCES[1]])
def test_a_single_prompt_and_prompts_that_begin_differently_are_read_too(beginning: str) -> None:
    subject = small_subject(TOKENIZER)
    prompts = some_prompts(beginning)
    for some in (prompts[:1], prompts[2:5], [prompts[0], prompts[0]]):
        for found, naive in compared(subject, some, 64):
            assert found == pytest.approx(naive, abs=1e-4)
    assert list(endings(subject.model, [], 64)) == []


def test_what_is_shared_is_read_once_and_flops_are_counted_from_what_is_read() -> None:
    subject, prompts = small_subject(TOKENIZER), some_prompts()
    read = Read(subject)
    found = list(endings(subject.model, prompts, 100))
    shared = len(ids(SENTENCES[1])) - 1  # its last token is another one where the text goes on
    own = [len(each.shared) + sum(len(end) - 1 for end in each.ends) for each in prompts]
    assert sum(own) - (len(prompts) - 1) * (shared + 1) <= read.tokens <= sum(own) - (len(prompts) - 1) * shared
    assert read.foretold == sum(1 + sum(len(end) - 1 for end in each.ends) for each in prompts)
    block = sum(weight.numel() for weight in blocks_of(subject.model).parameters())
    head = subject.model.get_output_embeddings().weight.numel()
    assert sum(each.flops for each in found) == pytest.approx(2 * (block * read.tokens + head * read.foretold))


def test_in_bfloat16_log_odds_do_not_come_in_steps() -> None:
    subject = small_subject(TOKENIZER, dtype="bfloat16")
    with torch.no_grad():
        subject.model.get_output_embeddings().weight *= 40  # logits that are tens, as those of a trained model
    prompts = [each._replace(ends=([5], [9])) for each in some_prompts()]
    found = [each.log_probabilities[1] - each.log_probabilities[0] for each in endings(subject.model, prompts, 100)]
    assert all(torch.tensor(odds, dtype=torch.bfloat16).item() != pytest.approx(odds, rel=1e-6) for odds in found)


def test_the_network_is_left_as_it_was() -> None:
    subject, prompts = small_subject(TOKENIZER), some_prompts()
    usual = subject.model.config._attn_implementation
    before = by_whole_texts(subject, prompts[0])
    next(endings(subject.model, prompts, 100))
    list(endings(subject.model, prompts, 100))
    assert subject.model.config._attn_implementation == usual
    assert by_whole_texts(subject, prompts[0]) == before


def test_an_example_whose_numbers_are_not_finite_spoils_no_other() -> None:
    subject, prompts = small_subject(TOKENIZER), some_prompts("")
    met = {token for each in prompts for token in [*each.shared, *each.ends[0], *each.ends[1]]}
    rare = next(token for token in range(len(TOKENIZER)) if token not in met)
    with torch.no_grad():
        subject.model.get_input_embeddings().weight[rare] = torch.nan
    broken = Encoded([*prompts[0].shared, rare, 5], prompts[0].ends, False)
    found = {each.place: each.log_probabilities[0] for each in endings(subject.model, [broken, *prompts], 100_000)}
    assert [i for i, value in found.items() if value != value] == [0]


def test_a_kind_of_attention_that_is_not_served_is_refused() -> None:
    subject = small_subject(TOKENIZER)
    subject.model.config.layer_types = ["full_attention", "linear_attention"]
    with pytest.raises(BranchesError, match="has linear_attention, which the prompted baseline does not serve"):
        list(endings(subject.model, some_prompts(), 100))
