"""export_inner_states.py: the original study's columns, from a dataset, responses, activations and verbalisations."""

import runpy
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from candor import provenance, tables
from candor.activations import exporting
from candor.activations.files import Draft, Header
from candor.schemas.dataset import DATASET
from candor.schemas.generation import GENERATION
from candor.schemas.verbalisation import VERBALISATION

SCRIPT = Path(__file__).parents[2] / "scripts" / "export_inner_states.py"
WIDTH = 4
PROMPT_TOKENS = 3
NEW = [[21, 22, 23, 24], [31, 32, 33], [], [51]]
"""Tokens of each response; the last one drawn of each has no activations."""
POSITIONS = [[2, 3, 5], [2, 3, 4], [], [2]]
STATUSES = ["ok", "truncated", "invalid", "ok"]
VECTORS = torch.randn(sum(map(len, POSITIONS)), WIDTH, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
COLUMNS = ["prompt_id", "prompt_category", "prompt", "response_text", "token_idx", "activation_vector"]
Export = Callable[..., pa.Table]


def activations(path: Path, header: Header, examples: slice, rows: slice) -> Path:
    """An activations file of some of the examples."""
    lengths = [len(each) for each in POSITIONS[examples]]
    offsets = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    draft = Draft(path, header, offsets, {})
    layer = VECTORS[rows]
    for i, (positions, new) in enumerate(zip(POSITIONS[examples], NEW[examples], strict=True)):
        ids = [new[p - PROMPT_TOKENS] if p >= PROMPT_TOKENS else 9 for p in positions]
        part = layer[offsets[i] : offsets[i + 1]]
        draft.put(i, {"token_ids": ids, "positions": positions, "roles": [3] * len(ids)}, {1: part, 2: -part}, {})
    draft.describe(lengths, STATUSES[examples])
    draft.flush()
    return path


@pytest.fixture
def header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Header:
    """The header of all examples; D.parquet and G.parquet lie beside."""
    monkeypatch.chdir(tmp_path)
    data = [
        {
            "example_id": f"t.{label}",
            "group_id": "t",
            "split": "test",
            "messages": [{"role": "user", "content": f"Be {label}."}],
            "label": label,
            "rating": None,
            "attributes": "{}",
            "truncated": False,
        }
        for label in ("normal", "eval_aware", "deceptive", "other")
    ]
    tables.write(Path("D.parquet"), data, DATASET, {})
    responses = [
        {
            "example_id": row["example_id"],
            "sample_index": 0,
            "text": f"words {i}",
            "token_ids": NEW[i],
            "reasoning": None,
            "answer": None,
            "status": STATUSES[i],
            "prompt_tokens": PROMPT_TOKENS,
            "new_tokens": len(NEW[i]),
            "seed": 0,
        }
        for i, row in enumerate(data)
    ]
    tables.write(Path("G.parquet"), responses, GENERATION, {})
    return Header(
        subject="tiny",
        revision=None,
        hook="residual",
        layers=[1, 2],
        mean_layers=[],
        store="positions",
        width=WIDTH,
        blocks=4,
        dtype="bfloat16",
        dataset="D",
        dataset_sha256=provenance.sha256(Path("D.parquet")),
        shard="000-of-001",
        example_ids=[str(row["example_id"]) for row in data],
        sample_indices=[0] * len(data),
    )


@pytest.fixture
def export(header: Header, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Export:
    """Export a layer of A.safetensors, or of other files, and read the table."""
    activations(Path("A.safetensors"), header, slice(0, 4), slice(0, len(VECTORS)))

    def export(*more: Any, layer: int = 1, files: tuple[str, ...] = ("A.safetensors",)) -> pa.Table:
        arguments = ["--data", "D.parquet", "--generations", "G.parquet", "--activations", *files]
        monkeypatch.setattr(
            sys, "argv", [SCRIPT.name, *arguments, "--layer", str(layer), "--output", "I.parquet", *more]
        )
        try:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        except SystemExit as ended:
            raise AssertionError(f"{capfd.readouterr().err}{ended.code}") from None
        return pq.read_table("I.parquet")

    return export


def test_a_row_per_stored_token_in_the_original_s_columns(export: Export) -> None:
    table = export()
    assert table.column_names == COLUMNS
    rows = table.to_pylist()
    assert [(row["prompt_id"], row["token_idx"]) for row in rows] == [
        *(("t.normal", p) for p in POSITIONS[0]),
        *(("t.eval_aware", p) for p in POSITIONS[1]),
        ("t.other", 2),
    ]
    assert [row["prompt_category"] for row in rows[::3]] == ["normal", "eval_aware", "other"]
    assert (rows[0]["prompt"], rows[0]["response_text"]) == ("Be normal.", "words 0")
    assert [row["activation_vector"] for row in rows] == VECTORS.float().tolist()
    assert [row["activation_vector"] for row in export(layer=2).to_pylist()] == (-VECTORS.float()).tolist()


def test_row_groups_are_small_and_the_file_says_what_made_it(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = export()
    monkeypatch.setattr(exporting, "GROUP", 3)
    assert export().equals(whole)
    file = pq.ParquetFile("I.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)] == [3, 3, 1]
    made = provenance.read(Path("I.parquet"))
    assert (made["script"], made["layer"]) == ("export_inner_states.py", 1)
    assert made["inputs"].keys() == {"D.parquet", "G.parquet", "A.safetensors"}


def test_shards_are_the_whole(export: Export, header: Header) -> None:
    whole, names = export(), ("000-of-002", "001-of-002")
    for name, examples, rows in zip(names, (slice(0, 2), slice(2, 4)), (slice(0, 6), slice(6, 7)), strict=True):
        ids = header.example_ids[examples]
        own = replace(header, shard=name, example_ids=ids, sample_indices=[0] * len(ids))
        activations(Path(f"{name}.safetensors"), own, examples, rows)
    assert export(files=tuple(f"{name}.safetensors" for name in names)).equals(whole)


def test_verbalisations_are_a_further_column(export: Export) -> None:
    common = {"sample_index": 0, "mse": None, "cosine": None, "fve": None}
    said = [
        ("t.normal", 3, "a token", "ok"),
        ("t.normal", 5, "raw reply", "unparseable"),
        ("t.eval_aware", 2, "its own", "ok"),
        ("t.eval_aware", None, "the text", "ok"),
    ]
    rows = [{**common, "example_id": i, "token_index": p, "text": t, "status": s} for i, p, t, s in said]
    tables.write(Path("V.parquet"), rows, VERBALISATION, {})
    table = export("--verbalisations", "V.parquet")
    assert table.column_names == [*COLUMNS, "nla_text"]
    assert table.column("nla_text").to_pylist() == [None, "a token", None, "its own", "the text", "the text", None]


def test_a_capture_without_a_row_is_an_empty_table(export: Export, header: Header) -> None:
    own = replace(header, example_ids=header.example_ids[2:3], sample_indices=[0])
    activations(Path("E.safetensors"), own, slice(2, 3), slice(0, 0))
    table = export(files=("E.safetensors",))
    assert (table.num_rows, table.column_names) == (0, COLUMNS)


def test_a_layer_that_is_not_there_is_a_sentence(export: Export) -> None:
    with pytest.raises(AssertionError, match=r"A.safetensors: holds layers \[1, 2\], not \[7\]"):
        export(layer=7)


@pytest.mark.parametrize("store", ["mean", "spans"])
def test_means_are_of_no_token(export: Export, header: Header, store: str) -> None:
    activations(Path("M.safetensors"), replace(header, store=store), slice(0, 4), slice(0, len(VECTORS)))
    with pytest.raises(AssertionError, match=r"M.safetensors: stores means of layer 1, which belong to no one token"):
        export(files=("M.safetensors",))


def test_another_dataset_is_a_sentence(export: Export) -> None:
    rows = tables.read(Path("D.parquet"), DATASET)
    tables.write(Path("D.parquet"), rows.slice(0, 3), DATASET, {})
    with pytest.raises(AssertionError, match=r"was read from another version of dataset D"):
        export()


def test_a_table_that_labels_it_anew_has_its_activations(export: Export, header: Header) -> None:
    whole, rows = export(), tables.read(Path("D.parquet"), DATASET).to_pylist()
    graded = [{**row, "label": "normal"} for row in rows]
    relabels = {"dataset": "D", "sha256": header.dataset_sha256}
    tables.write(Path("D.parquet"), graded, DATASET, {"relabels": relabels})
    table = export()
    assert set(table.column("prompt_category").to_pylist()) == {"normal"}
    assert table.drop_columns(["prompt_category"]).equals(whole.drop_columns(["prompt_category"]))
    tables.write(Path("D.parquet"), graded, DATASET, {"relabels": {**relabels, "sha256": "0"}})
    with pytest.raises(AssertionError, match=r"was read from another version of dataset D"):
        export()


def test_other_responses_are_a_sentence(export: Export) -> None:
    rows = tables.read(Path("G.parquet"), GENERATION).to_pylist()
    tables.write(Path("G.parquet"), rows[1:], GENERATION, {})
    with pytest.raises(
        AssertionError, match=r"G.parquet: holds no response to 't.normal', of which there are activations"
    ):
        export()
    rows[1]["token_ids"] = [99, 32, 33]
    tables.write(Path("G.parquet"), rows, GENERATION, {})
    with pytest.raises(AssertionError, match=r"was read from another response to 't.eval_aware' than G.parquet holds"):
        export()
