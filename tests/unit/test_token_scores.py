"""Token scores: they make up the text's score by their weights, and their pieces make up the text."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from candor import tables
from candor.activations.files import Draft, Header
from candor.chat_text import ROLE_CODES, conversation, encode
from candor.errors import CandorError
from candor.experiments import token_scores
from candor.experiments.evaluation_context import EvaluationContext
from candor.experiments.token_scores import chosen, pieces, ranking
from candor.probes.features import Part, read_part
from candor.schemas.token import TOKEN
from tests.evaluation_contexts import LAYER, context_of, folder
from tests.small_models import small_tokenizer
from tests.small_parts import pair_rows, planted, write_part

WIDTH = 6
TEXTS = [
    "Is the café open? 🙂🙂",
    "naïve 漢字 <b>12</b>\n\nYes.",
    "ok",
    "A dog sleeps on.",
    "größer",
    "The fox & the dog",
]
WEIGHTED = [
    ({"family": "mean"}, 1),
    ({"family": "mean_then_linear"}, 1),
    ({"family": "difference_of_means"}, 1),
    ({"family": "logistic"}, 1),
    ({"family": "last"}, 1),
    ({"family": "max"}, 1),
    ({"family": "rolling_mean_max", "window": 3}, 1),
    ({"family": "softmax"}, 1),
    ({"family": "attention"}, 2),
    ({"family": "rolling_attention", "window": 4}, 2),
    ({"family": "gated_attention"}, 3),
]
EXPERIMENT = {"kind": "token_scores", "task": "stakes", "part": "texts@test", "examples": 3}


def read_texts(root: Path) -> Part:
    """Texts as the small tokenizer reads them, the first token dropped, with random activations."""
    tokenizer = small_tokenizer()
    rows = pair_rows(len(TEXTS) // 2, "test")
    for row, text in zip(rows, TEXTS, strict=True):
        row["messages"] = [{"role": "user", "content": text}, {"role": "assistant", "content": "Yes."}]
    read = [encode(row["messages"], tokenizer, 1000, "left") for row in rows]
    generator = torch.Generator().manual_seed(0)
    layer = [torch.randn(len(each.token_ids) - 1, WIDTH, generator=generator) for each in read]
    part = write_part(root, "texts@test", rows, {LAYER: layer})
    header = Header(**part.activations.header.__dict__)
    path = part.activations.paths[0]
    path.unlink()
    lengths = [len(x) for x in layer]
    draft = Draft(path, header, torch.tensor([0, *lengths]).cumsum(0).tolist(), {})
    for i, (each, x) in enumerate(zip(read, layer, strict=True)):
        index = {"token_ids": each.token_ids[1:], "positions": range(1, 1 + len(x)), "roles": each.roles[1:]}
        draft.put(i, index, {LAYER: x}, {})
    draft.describe(lengths, ["ok"] * len(rows))
    draft.flush()
    return read_part("texts@test", root / "texts.parquet", [path])


def context(root: Path, config: dict[str, Any], projections: int, **changes: Any) -> EvaluationContext:
    part = read_texts(folder(root, "texts"))
    rows = pair_rows(2)
    train = write_part(folder(root, "pairs"), "pairs@train", rows, {LAYER: planted(rows, WIDTH, 1.0, 0)})
    weight = torch.randn(projections, WIDTH, generator=torch.Generator().manual_seed(1))
    experiment = {**EXPERIMENT, **changes}
    return context_of(experiment, train, {"texts@test": part}, config, weight, 0.3, tokenizer=small_tokenizer)


def by_text(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["example_id"], []).append(row)
    return found


@pytest.mark.parametrize(("config", "projections"), WEIGHTED, ids=[config["family"] for config, _ in WEIGHTED])
def test_scores_and_weights_of_tokens_give_the_score_of_the_text(
    tmp_path: Path, config: dict[str, Any], projections: int
) -> None:
    rows = token_scores.run(context(tmp_path, config, projections))
    tables.write(tmp_path / "tokens.parquet", rows, TOKEN, {})
    for tokens in by_text(rows).values():
        together = sum(token["score"] * token["weight"] for token in tokens)
        assert together == pytest.approx(tokens[0]["text_score"], abs=1e-3)
        assert sum(token["weight"] for token in tokens) == pytest.approx(1)


@pytest.mark.parametrize(
    ("config", "projections"), [({"family": "multimax", "heads": 2}, 2), ({"family": "gated_bipolar"}, 2)]
)
def test_families_that_add_extremes_have_weights_that_sum_to_one_all_the_same(
    tmp_path: Path, config: dict[str, Any], projections: int
) -> None:
    for tokens in by_text(token_scores.run(context(tmp_path, config, projections))).values():
        assert sum(token["weight"] for token in tokens) == pytest.approx(1)


def test_the_pieces_of_a_text_are_the_text_that_was_read(tmp_path: Path) -> None:
    found = context(tmp_path, {"family": "mean"}, 1, examples=6)
    tokenizer = small_tokenizer()
    messages = {row["example_id"]: row["messages"] for row in found.evaluation["texts@test"].rows}
    texts = by_text(token_scores.run(found))
    assert len(texts) == 6
    for id, tokens in texts.items():
        text = conversation(messages[id], tokenizer, False).text
        assert "".join(token["token"] for token in tokens) == text.removeprefix("<|im_start|>")
        assert [token["token_index"] for token in tokens] == list(range(len(tokens)))
        assert {token["role"] for token in tokens} == {"template", "user", "assistant"}


def test_a_character_of_several_tokens_stands_at_the_last_of_them() -> None:
    tokenizer = small_tokenizer()
    messages = [{"role": "user", "content": "a🙂🙂b"}]
    whole = conversation(messages, tokenizer, False)
    ids = np.array(whole.token_ids)
    found = pieces(messages, tokenizer, ids, np.arange(len(ids)), "example")
    assert "".join(found) == whole.text
    faces = [i for i, piece in enumerate(found) if "🙂" in piece]
    assert len(faces) == 2 and found[faces[0] - 1] == found[faces[1] - 1] == ""


def test_other_tokens_than_were_read_stop_the_job() -> None:
    messages = [{"role": "user", "content": "a dog"}]
    ids = np.array(conversation(messages, small_tokenizer(), False).token_ids)
    with pytest.raises(CandorError, match="other tokens"):
        pieces(messages, small_tokenizer(), ids[::-1].copy(), np.arange(len(ids)), "example")


def test_tokens_outside_the_probes_roles_have_no_score_and_no_weight(tmp_path: Path) -> None:
    rows = token_scores.run(context(tmp_path, {"family": "attention", "roles": ["user"]}, 2))
    tables.write(tmp_path / "tokens.parquet", rows, TOKEN, {})
    assert {token["role"] for token in rows} == {"template", "user", "assistant"}
    for token in rows:
        assert (token["score"] is None) == (token["role"] != "user")
        assert token["score"] is not None or token["weight"] == 0
    for tokens in by_text(rows).values():
        together = sum(token["score"] * token["weight"] for token in tokens if token["score"] is not None)
        assert together == pytest.approx(tokens[0]["text_score"], abs=1e-3)


def test_texts_come_evenly_from_the_ranking_of_the_whole_part(tmp_path: Path) -> None:
    texts = by_text(token_scores.run(context(tmp_path, {"family": "mean"}, 1)))
    scores = [tokens[0]["text_score"] for tokens in texts.values()]
    assert scores == sorted(scores)
    assert [tokens[0]["rank"] for tokens in texts.values()] == [0, pytest.approx(0.4), 1]


def test_long_and_cut_texts_are_not_shown(tmp_path: Path) -> None:
    part = read_texts(tmp_path)
    ranks = ranking(np.arange(6.0), [row["example_id"] for row in part.rows])
    short = [i for i, n in enumerate(part.n_tokens) if n <= min(part.n_tokens) + 1]
    assert set(chosen(ranks, part, 6, min(part.n_tokens) + 1)) == set(short)
    cut = part._replace(statuses=["truncated", *part.statuses[1:]])
    assert 0 not in chosen(ranks, cut, 6, 1000)
    with pytest.raises(CandorError, match="max_tokens"):
        chosen(ranks, part, 6, 1)


def test_equal_scores_are_ranked_by_name_and_missing_ones_not_at_all() -> None:
    found = ranking(np.array([1.0, 1.0, np.nan, 0.0]), ["b", "a", "c", "d"])
    assert found[[3, 1, 0]].tolist() == [0, 0.5, 1] and np.isnan(found[2])


def test_means_alone_are_refused(tmp_path: Path) -> None:
    found = context(tmp_path, {"family": "mean"}, 1)
    rows = pair_rows(2, "test")
    means = torch.zeros(len(rows), WIDTH)
    shallow = write_part(
        folder(tmp_path, "means"), "texts@test", rows, {0: planted(rows, WIDTH, 1.0, 0)}, {LAYER: means}
    )
    found.evaluation = {"texts@test": shallow}
    with pytest.raises(CandorError, match="token by token"):
        token_scores.run(found)


def test_roles_have_names() -> None:
    assert token_scores.ROLES[ROLE_CODES["user"]] == "user"
