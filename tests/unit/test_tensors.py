"""Safetensors files: what is written is what is read."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from candor import tensors


def test_an_array_that_lies_column_by_column_is_read_as_it_was(tmp_path: Path) -> None:
    rows = np.arange(6.0).reshape(2, 3)
    tensors.write(tmp_path / "a", {"columns": np.asfortranarray(rows), "turned": rows.T, "part": rows[:, ::2]}, {})
    found = load_file(tmp_path / "a")
    assert (found["columns"] == rows).all()
    assert (found["turned"] == rows.T).all()
    assert (found["part"] == rows[:, ::2]).all()


def test_the_same_content_is_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        tensors.write(tmp_path / name, {"x": np.ones(3)}, {"second": "2", "first": "1"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
