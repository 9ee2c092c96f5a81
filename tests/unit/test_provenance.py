"""Provenance: what made a file stands inside it, and nothing else of the machine does."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from candor import provenance, tables, tensors
from candor.provenance import ProvenanceError
from candor.schemas.base import Column, TableSchema

MADE = {"script": "measure.py", "code": "c0ffee", "spec": {"tasks": {"id": "ü"}}, "n": 3}
THING = TableSchema("thing", {"id": Column(pa.string())}, ("id",))
ARRAYS = {"weight": np.arange(6.0).reshape(2, 3), "bias": np.zeros(2, np.float32)}


def write_tensors(path: Path) -> None:
    tensors.write(path, ARRAYS, {provenance.KEY: json.dumps(MADE), "probe": "{}"})


class TestRecord:
    @pytest.fixture
    def data(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "results").mkdir()
        Path("results/data.parquet").write_text("abc")
        return Path("results/data.parquet")

    def test_it_names_script_code_spec_inputs_and_versions(self, data: Path) -> None:
        spec = {"probes": {"family": "mean"}}
        made = provenance.record(
            "/somewhere/scripts/train_probe.py", "c0ffee", spec, [data], ["torch", "nonesuch"], n=7
        )
        abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        assert (made["script"], made["code"], made["spec"], made["n"]) == ("train_probe.py", "c0ffee", spec, 7)
        assert made["inputs"] == {"results/data.parquet": abc}
        assert set(made["versions"]) == {"python", "numpy", "pyarrow", "torch", "nonesuch"}
        assert made["versions"]["numpy"] == np.__version__ and made["versions"]["nonesuch"] == "absent"

    def test_it_knows_no_time_no_folder_and_no_environment(
        self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def made(at: float, word: str) -> str:
            os.utime(data, (at, at))
            monkeypatch.setattr(time, "time", lambda: at)
            for name in ("HOME", "USER", "HOSTNAME", "HF_TOKEN"):
                monkeypatch.setenv(name, word)
            return json.dumps(provenance.record(__file__, "c", {}, [data]), sort_keys=True)

        first = made(1e9, "swordfish")
        assert first == made(2e9, "marlin")
        for forbidden in (
            "swordfish",
            str(tmp_path),
            str(Path(__file__).parent),
            "1970",
            str(time.localtime().tm_year),
        ):
            assert forbidden not in first

    def test_a_missing_input_is_not_passed_over(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            provenance.record("x.py", "c", {}, [tmp_path / "gone"])

    def test_a_digest_does_not_see_the_order_of_keys(self) -> None:
        assert provenance.digest({"a": 1, "b": [2]}) == provenance.digest({"b": [2], "a": 1})
        assert provenance.digest({"a": 1, "b": 2}) != provenance.digest({"a": 2, "b": 1})


class TestRead:
    @pytest.mark.parametrize(
        ("name", "write"),
        [
            ("t.parquet", lambda path: tables.write(path, [{"id": "a"}], THING, MADE)),
            ("t.safetensors", write_tensors),
            ("t.json", lambda path: tables.write_json(path, {"n": 4}, MADE)),
        ],
    )
    def test_from_inside_a_file(self, tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
        write(tmp_path / name)
        assert provenance.read(tmp_path / name) == MADE

    @pytest.mark.parametrize("suffix", [".pdf", ".png", ".csv"])
    def test_of_a_figure_from_the_json_beside_it(self, tmp_path: Path, suffix: str) -> None:
        (tmp_path / f"roc{suffix}").write_bytes(b"\x00")
        tables.write_json(tmp_path / "roc.json", {}, MADE)
        assert provenance.read(tmp_path / f"roc{suffix}") == MADE

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("t.parquet", b"PAR1"),
            ("t.safetensors", b""),
            ("t.json", b"{"),
            ("t.json", b"[]"),
            ("t.json", b"{}"),
            ("t.json", b'{"provenance": 5}'),
            ("t.pdf", b"%PDF"),
            ("gone.parquet", None),
            ("gone.safetensors", None),
        ],
    )
    def test_a_file_without_any_is_one_sentence(self, tmp_path: Path, name: str, content: bytes | None) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ProvenanceError, match=f"{name}: .*make it again"):
            provenance.read(tmp_path / name)

    def test_a_table_of_another_tool_has_none(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"id": ["a"]}), tmp_path / "t.parquet")
        with pytest.raises(ProvenanceError, match="no provenance can be read"):
            provenance.read(tmp_path / "t.parquet")


class TestTensors:
    def test_arrays_and_header_come_back(self, tmp_path: Path) -> None:
        write_tensors(tmp_path / "w.safetensors")
        found = load_file(tmp_path / "w.safetensors")
        assert {name: array.dtype for name, array in found.items()} == {"weight": np.float64, "bias": np.float32}
        assert all((found[name] == array).all() for name, array in ARRAYS.items())
        header: dict[str, Any] = provenance.safetensors_header(tmp_path / "w.safetensors")
        assert header["__metadata__"]["probe"] == "{}" and header["weight"]["shape"] == [2, 3]

    def test_the_same_content_is_the_same_bytes_in_any_order(self, tmp_path: Path) -> None:
        metadata = {str(i): str(i) for i in range(20)}
        for name, turn in {"a": 1, "b": -1}.items():
            tensors.write(tmp_path / name, dict(list(ARRAYS.items())[::turn]), dict(list(metadata.items())[::turn]))
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_a_failed_write_leaves_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(Exception, match="object"):
            tensors.write(tmp_path / "w.safetensors", {"weight": np.array([None])}, {})
        assert not list(tmp_path.iterdir())

    def test_a_file_that_is_cut_off_or_too_long_anywhere_is_one_sentence(self, tmp_path: Path) -> None:
        path = tmp_path / "w.safetensors"
        write_tensors(path)
        content = path.read_bytes()
        for damaged in [*(content[:length] for length in range(len(content))), content + b"\x00"]:
            path.write_bytes(damaged)
            with pytest.raises(ProvenanceError, match=r"w\.safetensors: .*delete it to make it again"):
                provenance.safetensors_header(path)

    def test_a_changed_bit_in_the_header_is_at_most_one_sentence(self, tmp_path: Path) -> None:
        path = tmp_path / "w.safetensors"
        write_tensors(path)
        content = path.read_bytes()
        end = 8 + int.from_bytes(content[:8], "little")
        refused = 0
        for at in range(end):
            path.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
            try:
                provenance.safetensors_header(path)
            except ProvenanceError:
                refused += 1
        assert refused > end / 3

    @pytest.mark.parametrize("header", [b"[]", b'"text"', b'{"weight": 5}', b'{"weight": {"data_offsets": []}}'])
    def test_a_header_of_another_shape_is_one_sentence(self, tmp_path: Path, header: bytes) -> None:
        (tmp_path / "w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
        with pytest.raises(ProvenanceError, match=r"w\.safetensors: its safetensors header is damaged"):
            provenance.safetensors_header(tmp_path / "w.safetensors")
