"""The activations file: what is written is what is read, over one shard or several, and damage is a sentence."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from candor import provenance
from candor.activations.files import Activations, ActivationsError, Draft, Header, join
from candor.errors import CandorError

WIDTH = 6
LENGTHS = [3, 0, 1, 5, 2]
"""Rows of each example; their sums are odd, so that tensors begin at odd bytes of the file."""
HEADER = Header(
    subject="tiny",
    revision="a" * 40,
    hook="residual",
    layers=[1, 3],
    mean_layers=[0],
    store="tokens",
    width=WIDTH,
    blocks=4,
    dtype="bfloat16",
    dataset="rows",
    dataset_sha256="d" * 64,
    shard="000-of-001",
    example_ids=[f"e{i}" for i in range(len(LENGTHS))],
    sample_indices=[0] * len(LENGTHS),
)
MADE = {"script": "extract_activations.py", "code": "0", "spec": {}}
Values = dict[str, torch.Tensor]


def values_of(header: Header, lengths: list[int]) -> Values:
    """Random values for all that a file holds; each example keeps one token more than it has rows."""
    generator = torch.Generator().manual_seed(len(lengths))
    rows, n = sum(lengths), len(lengths)
    dtype = getattr(torch, header.dtype)
    values = {f"layer_{k}": torch.randn(rows, WIDTH, generator=generator).to(dtype) for k in header.layers}
    values |= {f"mean_{k}": torch.randn(n, WIDTH, generator=generator) for k in header.mean_layers}
    for name in ("token_ids", "positions", "roles"):
        values[name] = torch.randint(0, 5, (rows,), generator=generator)
    for i, length in enumerate(lengths):
        for k in header.mean_layers:
            values[f"mean_{k}"][i] *= bool(length)
    return values


def write(path: Path, header: Header = HEADER, lengths: list[int] = LENGTHS) -> Values:
    """Write a file of random values, last example first, and return them."""
    values = values_of(header, lengths)
    offsets = torch.tensor([0, *lengths]).cumsum(0).tolist()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Draft(path, header, offsets, MADE)
    for i in reversed(range(len(lengths))):
        rows = slice(offsets[i], offsets[i + 1])
        draft.put(
            i,
            {name: values[name][rows].tolist() for name in ("token_ids", "positions", "roles")},
            {k: values[f"layer_{k}"][rows] for k in header.layers},
            {k: values[f"mean_{k}"][i] for k in header.mean_layers},
        )
    draft.describe([length + 1 for length in lengths], ["ok" if length else "empty" for length in lengths])
    draft.flush()
    return values


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_what_is_written_is_read(tmp_path: Path, dtype: str) -> None:
    values = write(tmp_path / "a.safetensors", replace(HEADER, dtype=dtype))
    found = Activations([tmp_path / "a.safetensors"])
    assert found.lengths().tolist() == LENGTHS
    assert found.statuses == ["ok", "empty", "ok", "ok", "ok"]
    assert found.n_tokens == [4, 1, 2, 6, 3]
    assert found.example_ids == HEADER.example_ids
    for layer in HEADER.layers:
        assert found.layer(layer).dtype == getattr(torch, dtype)
        assert torch.equal(found.layer(layer), values[f"layer_{layer}"])
    assert torch.equal(found.means(0), values["mean_0"])
    for name in ("token_ids", "positions", "roles"):
        assert torch.equal(found.index(name).long(), values[name])


def test_any_reader_of_safetensors_reads_it(tmp_path: Path) -> None:
    values = write(tmp_path / "a.safetensors")
    tensors = load_file(tmp_path / "a.safetensors")
    assert set(tensors) == {"offsets", "n_tokens", "status", *values}
    assert torch.equal(tensors["layer_3"], values["layer_3"])
    assert tensors["offsets"].tolist() == [0, 3, 3, 4, 9, 11]


def test_the_same_values_give_the_same_bytes_and_carry_their_provenance(tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors")
    write(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert provenance.read(tmp_path / "a.safetensors") == MADE


def test_means_are_computed_where_the_file_holds_rows(tmp_path: Path) -> None:
    values = write(tmp_path / "a.safetensors")
    parts = values["layer_1"].float().split(LENGTHS)
    expected = torch.stack([part.mean(0) if len(part) else torch.zeros(WIDTH) for part in parts])
    torch.testing.assert_close(Activations([tmp_path / "a.safetensors"]).means(1), expected)


def test_chosen_positions_give_no_mean(tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors", replace(HEADER, store="positions"))
    with pytest.raises(ActivationsError, match=r"holds chosen positions, and no mean over tokens of layer 1"):
        Activations([tmp_path / "a.safetensors"]).means(1)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("cuts", [[0, 5], [0, 1, 2, 5], [0, 3, 5], [0, 2, 4, 5]])
def test_files_of_consecutive_examples_are_put_together(tmp_path: Path, dtype: str, cuts: list[int]) -> None:
    whole = replace(HEADER, dtype=dtype, shard="001-of-003")
    parts, values = [], []
    for start, end in pairwise(cuts):
        ids = HEADER.example_ids[start:end]
        own = replace(HEADER, dtype=dtype, example_ids=ids, sample_indices=[0] * len(ids))
        parts.append(tmp_path / f"{start}.safetensors")
        values.append(write(parts[-1], own, LENGTHS[start:end]))
    join(parts, tmp_path / "a.safetensors", whole, MADE)
    tensors = load_file(tmp_path / "a.safetensors")
    assert tensors["offsets"].tolist() == [0, 3, 3, 4, 9, 11]
    assert tensors["n_tokens"].tolist() == [4, 1, 2, 6, 3]
    for name in values[0]:
        assert torch.equal(tensors[name].to(values[0][name].dtype), torch.cat([part[name] for part in values]))
    assert provenance.read(tmp_path / "a.safetensors") == MADE


def shards(folder: Path, **second: Any) -> list[Path]:
    """Two shard files, of three and of two examples; the second with other header values."""
    first = replace(HEADER, shard="000-of-002", example_ids=HEADER.example_ids[:3], sample_indices=[0] * 3)
    rest = replace(
        HEADER, **{"shard": "001-of-002", "example_ids": HEADER.example_ids[3:], "sample_indices": [0] * 2} | second
    )
    paths = [folder / f"{header.shard}.safetensors" for header in (first, rest)]
    write(paths[0], first, LENGTHS[:3])
    write(paths[1], rest, LENGTHS[3:])
    return paths


def test_shards_in_order_are_the_whole(tmp_path: Path) -> None:
    paths = shards(tmp_path)
    found, parts = Activations(paths), [load_file(path) for path in paths]
    assert found.example_ids == HEADER.example_ids
    assert found.lengths().tolist() == LENGTHS
    assert len(found.statuses) == len(found.n_tokens) == len(LENGTHS)
    assert torch.equal(found.layer(3), torch.cat([part["layer_3"] for part in parts]))
    assert torch.equal(found.means(0), torch.cat([part["mean_0"] for part in parts]))
    assert torch.equal(found.index("positions"), torch.cat([part["positions"] for part in parts]))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("subject", "other"),
        ("revision", None),
        ("hook", "input_layernorm"),
        ("layers", [1, 2]),
        ("dtype", "float16"),
        ("dataset_sha256", "e" * 64),
        ("width", WIDTH + 1),
    ],
)
def test_shards_of_different_captures_are_a_sentence(tmp_path: Path, name: str, value: Any) -> None:
    second = replace(HEADER, shard="001-of-002", **{name: value})
    paths = [tmp_path / "0.safetensors", tmp_path / "1.safetensors"]
    Draft(paths[0], replace(HEADER, shard="000-of-002"), [0] * 6, MADE)
    Draft(paths[1], second, [0] * 6, MADE)
    with pytest.raises(ActivationsError, match=rf"1\.safetensors: has {name} .* but .*shards must match"):
        Activations(paths)


@pytest.mark.parametrize("order", [[0], [1, 0], [0, 0], [1]])
def test_shards_that_are_not_all_in_order_are_a_sentence(tmp_path: Path, order: list[int]) -> None:
    paths = shards(tmp_path)
    with pytest.raises(ActivationsError, match=r"are not all shards of one dataset in order"):
        Activations([paths[i] for i in order])


def test_shards_of_different_counts_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ActivationsError, match=r"000-of-002, 001-of-003 are not all shards"):
        Activations(shards(tmp_path, shard="001-of-003"))


def test_a_reader_stops_at_what_it_did_not_expect(tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors")
    found = Activations([tmp_path / "a.safetensors"])
    expected = {"hook": "residual", "width": WIDTH}
    assert found.expect(layers=[0, 1, 3], dataset_sha256="d" * 64, **expected) is found
    with pytest.raises(
        ActivationsError, match=r"a\.safetensors: holds layers .* not \[2, 5\]; add them to the capture"
    ):
        found.expect(layers=[1, 2, 5])
    with pytest.raises(ActivationsError, match=r"was read from another version of dataset rows; delete it"):
        found.expect(dataset_sha256="e" * 64)
    with pytest.raises(ActivationsError, match=r"has hook 'residual', not 'input_layernorm'"):
        found.expect(hook="input_layernorm")


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def too_long(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"1234567")


def header_cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def header_overwritten(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:8] + b"\xff" * 40 + content[48:])


def nothing_left(path: Path) -> None:
    path.write_bytes(b"")


def of_something_else(path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, path)


def of_something_else_with_metadata(path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, path, metadata={"format": "pt"})


def of_another_version(path: Path) -> None:
    save_file({"offsets": torch.zeros(2)}, path, metadata={"capture": json.dumps({"subject": "tiny"})})


def gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    "damage",
    [
        cut_off,
        too_long,
        header_cut_off,
        header_overwritten,
        nothing_left,
        of_something_else,
        of_something_else_with_metadata,
        of_another_version,
        gone,
    ],
)
def test_a_damaged_file_is_one_sentence_with_its_name(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = tmp_path / "a.safetensors"
    write(path)
    damage(path)
    with pytest.raises(CandorError, match=r"a\.safetensors: ") as caught:
        Activations([path])
    assert "\n" not in str(caught.value)
