"""A dataset's model work in one job and in three: the same rows in the same order, whatever stage.

What sharding changes are the low bits of numbers, since batches are filled within a shard, and products of other shapes
add up in another order; TOLERANCE says by how much. Where each text has a batch to itself nothing changes at all, nor
does anything that is read from equal files: that is how the readers behind it are tested.
"""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from candor import tables
from candor.activations.files import Activations
from candor.schemas.base import TableSchema
from candor.schemas.dataset import DATASET
from candor.schemas.generation import GENERATION
from candor.schemas.score import SCORE
from candor.schemas.verbalisation import VERBALISATION
from candor.schemas.verdict import VERDICT
from tests.chat_server import ChatServer
from tests.small_models import BLOCKS, SENTENCES, small_folder
from tests.small_verbalisers import LAYER, entry_of, reconstructor_folder, verbaliser_folder

SCRIPTS = Path(__file__).parents[2] / "scripts"
SHARDS = 3
TOLERANCE = {"float32": 1e-5, "bfloat16": 0.03}
"""Greatest difference of an activation, as a share of its layer's greatest value."""
INDEX = ("n_tokens", "status", "token_ids", "positions", "roles")
N = 25
"""Examples, which three shards do not divide; example 5 is empty but for what the template writes."""


def name_of(shard: int, shards: int) -> str:
    return f"{shard:03d}-of-{shards:03d}"


class Bench:
    """A folder with a dataset, a model's facts, and scripts that run there in this process."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self.model = {**entry_of(small_folder(folder / "model")), "name": "Tiny"}
        self.fetch("M.json", self.model)
        rows = [
            {
                "example_id": f"e{i:02d}",
                "group_id": f"g{i // 2}",
                "split": "test" if i % 4 == 3 else "train",
                "messages": [
                    {"role": "user", "content": " ".join(SENTENCES[i % 4 : i % 4 + 1 + i % 3])[: 9 + 23 * (i % 6)]},
                    {"role": "assistant", "content": "" if i == 5 else SENTENCES[-i % 4][: 20 + 7 * (i % 5)]},
                ],
                "label": ("low", "high")[i % 2],
                "rating": None,
                "attributes": "{}",
                "truncated": False,
            }
            for i in range(N)
        ]
        tables.write(Path("d.parquet"), rows, DATASET, {})
        asked = [{**row, "messages": row["messages"][:1]} for row in rows]
        tables.write(Path("p.parquet"), asked, DATASET, {})

    def run(self, script: str, spec: dict[str, Any], *arguments: Any) -> None:
        """Run a script; what it says is the failure where it fails."""
        given = (script, "--spec", json.dumps(spec), *arguments)
        self._patch.setattr(sys, "argv", [str(each) for each in given])
        try:
            runpy.run_path(str(SCRIPTS / script), run_name="__main__")
        except SystemExit as ended:
            pytest.fail(str(ended.code))

    def fetch(self, facts: str, entry: dict[str, Any]) -> None:
        """The facts of a model's folder."""
        self.run("fetch_model.py", {"models": entry}, "--output", facts)

    def in_shards(
        self, shards: int, script: str, spec: dict[str, Any], suffix: str, *arguments: Any, flag: str = "--output"
    ) -> list[Path]:
        """Run a script for each of so many shards; its files, in order."""
        paths = []
        for shard in range(shards):
            name = name_of(shard, shards)
            path = Path("out", script, f"{name}.{suffix}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            self.run(script, spec, *arguments, "--shard", name, "--threads", 1, flag, path)
            paths.append(path)
        return paths

    def extracted(self, shards: int, dtype: str = "float32", data: str = "d", **capture: Any) -> list[Path]:
        """Activations of a dataset; batches of 160 tokens where nothing else is said."""
        own = {"subject": "tiny", "layers": [1, 3], "batch_tokens": 160, **capture}
        spec = {"captures": own, "models": {**self.model, "dtype": dtype}}
        flags = ("--model", "M.json", "--data", f"{data}.parquet")
        paths = self.in_shards(shards, "extract_activations.py", spec, "safetensors", *flags)
        return [path.rename(f"{data}-{path.name}") for path in paths]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CANDOR_CACHE", str(tmp_path / "cache"))
    return Bench(tmp_path, monkeypatch)


def read(paths: list[Path], schema: TableSchema) -> list[dict[str, Any]]:
    """The rows of all shards, in order."""
    return [row for path in paths for row in tables.read(path, schema).to_pylist()]


def share(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Greatest difference, as a share of the greatest value."""
    return float((ours.float() - theirs.float()).abs().max() / theirs.float().abs().max())


STORES: dict[str, dict[str, Any]] = {
    "tokens": {"store": "tokens", "log_probs": True},
    "mean": {"store": "mean", "layers": [3]},
    "mean of all blocks": {"store": "tokens", "layers": [1], "mean_layers": "all"},
    "positions": {"store": "positions", "positions": [0, -1]},
    "spans": {"store": "spans", "spans": ["last_prompt", "end"]},
}


class TestExtraction:
    @pytest.mark.parametrize("dtype", list(TOLERANCE))
    @pytest.mark.parametrize("store", list(STORES))
    def test_rows_are_those_of_the_whole_and_numbers_differ_in_low_bits(
        self, bench: Bench, store: str, dtype: str
    ) -> None:
        capture = STORES[store]
        (whole,) = bench.extracted(1, dtype, **capture)
        one, parts = Activations([whole]), Activations(bench.extracted(SHARDS, dtype, **capture))
        assert parts.example_ids == one.example_ids == [f"e{i:02d}" for i in range(N)]
        assert parts.lengths().equal(one.lengths())
        for name in INDEX:
            assert parts.index(name).equal(one.index(name)), name
        for layer in one.header.layers:
            assert share(parts.layer(layer), one.layer(layer)) < TOLERANCE[dtype]
        for layer in one.header.mean_layers:
            assert share(parts.means(layer), one.means(layer)) < TOLERANCE[dtype]
        if one.header.log_probs:
            assert share(parts.log_probs(), one.log_probs()) < TOLERANCE[dtype]

    @pytest.mark.parametrize("dtype", list(TOLERANCE))
    def test_with_a_batch_for_each_text_no_bit_differs(self, bench: Bench, dtype: str) -> None:
        alone = {"batch_tokens": 1, "mean_layers": [0, 2], "log_probs": True}
        (whole,) = bench.extracted(1, dtype, **alone)
        one, parts = Activations([whole]), Activations(bench.extracted(SHARDS, dtype, **alone))
        for name in (*INDEX, "log_probs", "layer_1", "layer_3", "mean_0", "mean_2"):
            assert parts.index(name).equal(one.index(name)), name

    def test_more_shards_than_examples(self, bench: Bench) -> None:
        (whole,) = bench.extracted(1, batch_tokens=1)
        parts = Activations(bench.extracted(N + 3, batch_tokens=1))
        assert parts.layer(3).equal(Activations([whole]).layer(3))


SAMPLING = {"max_new_tokens": 12, "temperature": 1.0, "top_p": 0.95, "seed": 5}


class TestGeneration:
    def generated(self, bench: Bench, shards: int, dtype: str, **sampling: Any) -> list[dict[str, Any]]:
        spec = {"samplings": {**SAMPLING, "n": 2, **sampling}, "models": {**bench.model, "dtype": dtype}}
        flags = ("--model", "M.json", "--data", "p.parquet")
        return read(bench.in_shards(shards, "generate.py", spec, "parquet", *flags), GENERATION)

    def test_in_float32_texts_are_the_same(self, bench: Bench) -> None:
        whole = self.generated(bench, 1, "float32")
        assert self.generated(bench, SHARDS, "float32", batch_size=4) == whole
        assert [(row["example_id"], row["sample_index"]) for row in whole] == [
            (f"e{i:02d}", k) for i in range(N) for k in (0, 1)
        ]

    def test_in_bfloat16_a_text_may_part_from_its_other_self_and_no_row_is_lost(self, bench: Bench) -> None:
        whole, parts = (self.generated(bench, shards, "bfloat16") for shards in (1, SHARDS))
        known = ("example_id", "sample_index", "prompt_tokens", "seed")
        assert [[row[key] for key in known] for row in parts] == [[row[key] for key in known] for row in whole]
        same = sum(ours["token_ids"] == theirs["token_ids"] for ours, theirs in zip(parts, whole, strict=True))
        assert same >= len(whole) / 2

    @pytest.mark.parametrize("dtype", list(TOLERANCE))
    def test_with_one_text_at_a_time_no_bit_differs(self, bench: Bench, dtype: str) -> None:
        whole, parts = (self.generated(bench, shards, dtype, batch_size=1) for shards in (1, SHARDS))
        assert parts == whole

    @pytest.mark.parametrize("dtype", list(TOLERANCE))
    def test_answers_and_what_is_captured_of_them(self, bench: Bench, dtype: str) -> None:
        # in bfloat16 one at a time, for texts that part have other activations
        sampling = {**SAMPLING, "batch_size": 1 if dtype == "bfloat16" else "auto"}
        own = {"subject": "tiny", "sampling": "s", "layers": "all", "store": "positions"}
        capture = {**own, "positions": "even", "k": 3, "of": "response"}
        spec = {"samplings": sampling, "captures": capture, "models": {**bench.model, "dtype": dtype}}
        found = []
        for shards in (1, SHARDS):
            held = Path("held")
            held.mkdir(exist_ok=True)
            answers: list[Path] = []
            kept: list[Path] = []
            for shard in range(shards):
                name = name_of(shard, shards)
                answers.append(held / f"{name}.parquet")
                kept.append(held / f"{name}.safetensors")
                flags = ("--model", "M.json", "--data", "p.parquet", "--shard", name, "--threads", 1)
                bench.run("generate_and_capture.py", spec, *flags, "--output", answers[-1], "--activations", kept[-1])
            found.append((read(answers, GENERATION), Activations(kept)))
        (whole, one), (rows, parts) = found
        assert rows == whole and parts.example_ids == one.example_ids
        for name in INDEX:
            assert parts.index(name).equal(one.index(name)), name
        for layer in range(BLOCKS):
            assert share(parts.layer(layer), one.layer(layer)) < (TOLERANCE[dtype] if dtype == "float32" else 1e-9)


class TestVerbalisation:
    @pytest.fixture(params=[False, True], ids=["words that are noise", "words that can be parsed"])
    def pair(self, bench: Bench, tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
        """A verbaliser and its reconstructor; one whose words can be parsed says the same of everything."""
        folders = verbaliser_folder(tmp_path / "av", speaks=request.param), reconstructor_folder(tmp_path / "ar")
        entries = dict(zip(("av", "ar"), map(entry_of, folders), strict=True))
        for id, entry in entries.items():
            bench.fetch(f"{id.upper()}.json", entry)
        return entries

    def said(self, bench: Bench, pair: dict[str, Any], shards: int, dtype: str, capture: list[Path], **own: Any) -> Any:
        config = {"kind": "nla", "subject": "tiny", "layer": LAYER, "model": "av", "reconstructor": "ar"}
        config |= {"temperature": 1.0, "top_p": 0.95, "max_new_tokens": 8, "seed": 2, **own}
        models = {id: {**entry, "dtype": dtype} for id, entry in pair.items()}
        flags = ("--verbaliser", "mine", "--data", "d.parquet", "--activations", *capture)
        files = ("--model", "AV.json", "--reconstructor", "AR.json")
        spec = {"verbalisers": config, "models": models}
        return read(bench.in_shards(shards, "verbalise.py", spec, "parquet", *flags, *files), VERBALISATION)

    def test_words_are_the_same_and_scores_are_relative_to_the_whole_capture(
        self, bench: Bench, pair: dict[str, Any]
    ) -> None:
        capture = {"layers": [LAYER], "store": "positions", "positions": [0, -1], "batch_tokens": 1}
        (whole,) = bench.extracted(1, **capture)
        one = self.said(bench, pair, 1, "float32", [whole])
        parts = self.said(bench, pair, SHARDS, "float32", bench.extracted(SHARDS, **capture), batch_size=5)
        scores = ("mse", "cosine", "fve")
        rest = [{key: value for key, value in row.items() if key not in scores} for row in one]
        assert [{key: value for key, value in row.items() if key not in scores} for row in parts] == rest
        # either the words differ, or there are scores of each activation
        assert len({row["text"] for row in one}) > N or len({row["fve"] for row in one}) > N
        for ours, theirs in zip(parts, one, strict=True):
            for key in scores:
                assert ours[key] == (None if theirs[key] is None else pytest.approx(theirs[key], abs=1e-5))

    def test_a_chat_verbaliser_that_runs_here(self, bench: Bench) -> None:
        Path("t.txt").write_text("[system]\nYou describe.\n\n[user]\n{prompt}\n\nWhat is it?\n")
        config = {"kind": "chat", "client": "c", "template": "t.txt", "max_tokens": 9, "temperature": 1.0}
        client = {"provider": "local", "subject": "tiny"}
        spec = {"verbalisers": config, "models": bench.model, "clients": client}
        flags = ("--verbaliser", "mine", "--data", "d.parquet", "--model", "M.json")
        whole, parts = (
            read(bench.in_shards(shards, "verbalise.py", spec, "parquet", *flags), VERBALISATION)
            for shards in (1, SHARDS)
        )
        assert parts == whole and [row["example_id"] for row in whole] == [f"e{i:02d}" for i in range(N)]


JUDGE = {
    "kind": "chat",
    "title": "t",
    "client": "c",
    "template": "j.txt",
    "reply": {"verdict": {"choices": ["yes", "no"]}},
    "form": "json",
    "max_tokens": 9,
}


class TestJudging:
    @pytest.fixture
    def template(self, bench: Bench) -> None:
        Path("j.txt").write_text("[system]\nYou judge.\n\n[user]\n{answer}\n\nIs it so?\n\n{reply}\n")

    @pytest.mark.usefixtures("template")
    def test_a_judge_that_runs_here(self, bench: Bench) -> None:
        spec = {"judges": JUDGE, "clients": {"provider": "local", "subject": "tiny"}, "models": bench.model}
        flags = ("--judge", "mine", "--data", "d.parquet", "--model", "M.json")
        whole, parts = (
            read(bench.in_shards(shards, "label.py", spec, "parquet", *flags), VERDICT) for shards in (1, SHARDS)
        )
        assert parts == whole and [row["example_id"] for row in whole] == [f"e{i:02d}" for i in range(N)]
        assert [row["status"] for row in whole].count("empty") == 1 and len({row["raw"] for row in whole}) > 3

    @pytest.mark.usefixtures("template")
    def test_a_judge_at_a_server_is_asked_the_same_and_paid_once(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with ChatServer() as server:
            monkeypatch.setenv("MY_KEY", server.key)
            pace = {"base_url": f"{server.url}/v1", "price": {"input": 1, "output": 2}, "key_variable": "MY_KEY"}
            spec = {"judges": JUDGE, "clients": {"provider": "openai", "model": "m", "service": "s"}}
            flags = ("--judge", "mine", "--data", "d.parquet", "--pace", json.dumps(pace))
            parts = read(bench.in_shards(SHARDS, "label.py", spec, "parquet", *flags), VERDICT)
            asked = len(server.received)
            whole = read(bench.in_shards(1, "label.py", spec, "parquet", *flags), VERDICT)
            # texts that are the same are one request, whichever shards they are in
            assert len(server.received) == asked == len(server.counts) < N
        assert {row["status"] for row in whole} == {"ok", "empty"}
        # a text that stands in two shards is told as paid in both, and was paid once
        costs = dict.fromkeys(("attempts", "usd"))
        assert [{**row, **costs} for row in parts] == [{**row, **costs} for row in whole]
        assert sum(row["attempts"] for row in whole) == asked < sum(row["attempts"] for row in parts)

    def test_responses_and_words_are_judged_shard_by_shard(self, bench: Bench) -> None:
        words = {"kind": "keywords", "title": "k", "words": {"yes": ["e"]}, "otherwise": "no"}
        answers = [
            {
                "example_id": f"e{i:02d}",
                "sample_index": k,
                "text": "yes" * k + "no",
                "token_ids": [],
                "reasoning": None,
                "answer": "yes" * k + "no",
                "status": "ok",
                "prompt_tokens": 1,
                "new_tokens": 1,
                "seed": 0,
            }
            for i in range(N)
            for k in (0, 1)
        ]
        said = [
            {**{key: row[key] for key in ("example_id", "sample_index", "text", "status")}, "token_index": 4}
            | dict.fromkeys(("mse", "cosine", "fve"))
            for row in answers
        ]
        tables.write(Path("G.parquet"), answers, GENERATION, {})
        tables.write(Path("W.parquet"), said, VERBALISATION, {})
        for script, flag, table in (
            ("judge.py", "--generations", "G.parquet"),
            ("grade.py", "--verbalisations", "W.parquet"),
        ):
            flags = ("--judge", "mine", "--data", "d.parquet", flag, table)
            whole, parts = (
                read(bench.in_shards(shards, script, {"judges": words}, "parquet", *flags), VERDICT)
                for shards in (1, SHARDS)
            )
            assert parts == whole and len(whole) == 2 * N


TASK = {"capture": "c", "classes": ["low", "high"], "train": "d@train", "control": "p@test", "folds": 2, "seeds": [0]}


class TestReaders:
    def trained(self, bench: Bench, probe: dict[str, Any], activations: list[Path], control: list[Path]) -> Any:
        data = ("--data", "d.parquet", "--control", "p.parquet")
        files = ("--activations", *activations, "--control-activations", *control)
        made = ("--probe", "probe.safetensors", "--scores", "scores.parquet")
        spec = {"tasks": TASK, "probes": probe}
        bench.run("train_probe.py", spec, "--task", "t", "--monitor", "m", *data, *files, *made)
        return read([Path("scores.parquet")], SCORE)

    PROBES: tuple[dict[str, Any], ...] = (
        {"family": "difference_of_means", "layers": [1, 3]},
        {"family": "mean", "layers": [3], "epochs": 5},
        {"family": "attention", "layers": [3], "epochs": 5},
    )

    @pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe["family"])
    def test_a_probe_learns_the_same_from_shards_of_the_same_numbers(self, bench: Bench, probe: dict[str, Any]) -> None:
        whole, parts = (
            self.trained(bench, probe, *(bench.extracted(shards, data=data, batch_tokens=1) for data in ("d", "p")))
            for shards in (1, SHARDS)
        )
        assert parts == whole and {row["status"] for row in whole} == {"ok"}

    @pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.01)])
    def test_scores_from_shards_of_other_batches(self, bench: Bench, dtype: str, tolerance: float) -> None:
        found = []
        for shards in (1, SHARDS):
            files = (bench.extracted(shards, dtype, data) for data in ("d", "p"))
            found.append(self.trained(bench, self.PROBES[0], *files))
        whole, parts = found
        known = ("example_id", "split", "layer", "seed", "class", "label", "fold", "n_tokens")
        assert [[row[key] for key in known] for row in parts] == [[row[key] for key in known] for row in whole]
        ours, theirs = (np.array([row["score"] for row in rows]) for rows in (parts, whole))
        assert np.abs(ours - theirs).max() < tolerance * np.abs(theirs).max()

    def test_a_dataset_made_of_answers(self, bench: Bench) -> None:
        recipe = {"origin": "generations/s/tiny/p", "transform": "responses", "limit": 7, "split": {"test": 0.4}}
        spec = {"samplings": {**SAMPLING, "n": 2}, "models": bench.model}
        found = []
        for shards in (1, SHARDS):
            answers = bench.in_shards(
                shards, "generate.py", spec, "parquet", "--model", "M.json", "--data", "p.parquet"
            )
            files = ("--origin", *answers, "--examples", "p.parquet", "--output", "made.parquet")
            bench.run("build_dataset.py", {"datasets": recipe}, *files)
            found.append(read([Path("made.parquet")], DATASET))
        assert found[0] == found[1] and len(found[0]) > 14

    def test_shards_in_another_order_are_a_sentence(self, bench: Bench) -> None:
        paths = bench.extracted(2)
        control = bench.extracted(1, data="p")
        with pytest.raises(pytest.fail.Exception, match="are not all shards of one dataset in order"):
            self.trained(bench, self.PROBES[0], paths[::-1], control)
