"""verbalise.py on small files: from activations and datasets to the table, on after a kill, one model at a time."""

import gc
import json
import runpy
import sys
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from candor import provenance, tables
from candor.activations.files import Draft, Header
from candor.config.samplings import Sampling
from candor.schemas.dataset import DATASET
from candor.schemas.generation import GENERATION
from candor.schemas.verbalisation import VERBALISATION
from candor.verbalisers import nla, nla_job, reconstruct, scores
from candor.verbalisers.explanation import Explanation
from tests.small_models import WIDTH, small_folder
from tests.small_verbalisers import LAYER, WORDS, entry_of, meta, reconstructor_folder, verbaliser_folder

SCRIPTS = Path(__file__).parents[2] / "scripts"
SAID = "".join(WORDS[1:-1]).strip()
N = 6
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a script in this process, in tmp_path; give its exit status and all that it said."""
    monkeypatch.chdir(tmp_path)

    def run(script: str, *arguments: Any) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        try:
            runpy.run_path(str(SCRIPTS / script), run_name="__main__")
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
            return status, f"{capfd.readouterr().err}{ended.code}"
        return 0, capfd.readouterr().err

    return run


def dataset(n: int = N) -> None:
    """D.parquet: one user turn each, the last two of the split test."""
    rows = [
        {
            "example_id": f"e{i}",
            "group_id": f"g{i}",
            "split": "test" if i >= n - 2 else "train",
            "messages": [{"role": "user", "content": f"Question {i}?"}],
            "label": None,
            "rating": None,
            "attributes": "{}",
            "truncated": False,
        }
        for i in range(n)
    ]
    tables.write(Path("D.parquet"), rows, DATASET, {})


def activations(shards: int = 1, positions: Sequence[int] = (4, 7, 9), **changes: Any) -> list[Path]:
    """Files of layers 1 and LAYER at three positions of each example of D.parquet; e1 has none."""
    paths = []
    for shard in range(shards):
        here = range(shard * N // shards, (shard + 1) * N // shards)
        stored = [0 if i == 1 else 3 for i in here]
        facts: dict[str, Any] = {
            "subject": "qwen",
            "revision": "r",
            "hook": "residual",
            "layers": [1, LAYER],
            "mean_layers": [],
            "store": "positions",
            "width": WIDTH,
            "blocks": 4,
            "dtype": "bfloat16",
            "dataset": "D",
            "dataset_sha256": provenance.sha256(Path("D.parquet")),
            "shard": f"{shard:03d}-of-{shards:03d}",
            "example_ids": [f"e{i}" for i in here],
            "sample_indices": [0 for _ in here],
        }
        header = Header(**{**facts, **changes})
        path = Path(f"A{shard}-of-{shards}.safetensors")
        path.unlink(missing_ok=True)
        draft = Draft(path, header, [0, *np.cumsum(stored).tolist()], {})
        draft.describe(stored, ["invalid" if i == 1 else "ok" for i in here])
        for place, i in enumerate(here):
            if stored[place]:
                columns = {"token_ids": [1, 2, 3], "positions": positions, "roles": [2, 2, 0]}
                rows = {k: stored_vectors(i, k, header.width) for k in header.layers}
                draft.put(place, columns, rows, {})
        draft.flush()
        paths.append(path)
    return paths


def stored_vectors(example: int, layer: int, width: int = WIDTH) -> Tensor:
    generator = torch.Generator().manual_seed(100 * example + layer)
    return (torch.randn(3, width, generator=generator) * 9 + 3).bfloat16()


@pytest.fixture
def pair(run: Run, tmp_path: Path) -> dict[str, Any]:
    """The config's entries of a verbaliser and its reconstructor, fetched to AV.json and AR.json."""
    dataset()
    entries = {
        "av": entry_of(verbaliser_folder(tmp_path / "av")),
        "ar": entry_of(reconstructor_folder(tmp_path / "ar")),
    }
    for id, entry in entries.items():
        spec = json.dumps({"models": entry})
        status, said = run("fetch_model.py", "--spec", spec, "--output", f"{id.upper()}.json")
        assert status == 0, said
    return entries


@pytest.fixture
def verbalise(run: Run, pair: dict[str, Any]) -> Callable[..., tuple[int, str]]:
    """Run verbalise.py with changes to a verbaliser's entry, into V.parquet."""

    def verbalise(paths: Sequence[Path], *more: Any, entries: Any = None, **changes: Any) -> tuple[int, str]:
        config = {"kind": "nla", "subject": "qwen", "layer": LAYER, "model": "av", "batch_size": 2}
        config = {**config, "reconstructor": "ar", **changes}
        models = pair if config["reconstructor"] else pair["av"]
        spec = json.dumps({"verbalisers": config, "models": entries or models})
        flags = ["--model", "AV.json", *(["--reconstructor", "AR.json"] if config["reconstructor"] else [])]
        arguments = ("--spec", spec, "--verbaliser", "mine", "--data", "D.parquet", "--activations", *paths, *flags)
        return run("verbalise.py", *arguments, "--threads", 1, "--output", "V.parquet", *more)

    return verbalise


def rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tables.read(Path("V.parquet"), VERBALISATION).to_pylist()
    return found


class TestActivations:
    def test_a_row_of_each_stored_token(self, verbalise: Callable[..., Any]) -> None:
        status, said = verbalise(activations())
        assert status == 0, said
        assert [(row["example_id"], row["token_index"]) for row in rows()] == [
            *(("e0", p) for p in (4, 7, 9)),
            ("e1", None),
            *((f"e{i}", p) for i in range(2, N) for p in (4, 7, 9)),
        ]
        absent = rows()[3]
        assert (absent["status"], absent["text"], absent["mse"]) == ("invalid", "", None)
        assert {(row["status"], row["text"]) for row in rows() if row["example_id"] != "e1"} == {("ok", SAID)}
        made = provenance.read(Path("V.parquet"))
        assert made["reads"] == "the activation" and made["statuses"] == {"invalid": 1, "ok": 15}
        assert made["verbaliser"] == made["reconstructor"] == {"revision": None}
        assert made["script"] == "verbalise.py"
        assert {"D.parquet", "A0-of-1.safetensors", "AV.json", "AR.json"} == set(made["inputs"])

    @pytest.mark.parametrize("name", ["nla_meta.yaml", "value_head.safetensors"])
    def test_the_facts_pin_what_lies_beside_the_weights(
        self, verbalise: Callable[..., Any], tmp_path: Path, name: str
    ) -> None:
        path = tmp_path / "ar" / name
        path.write_bytes(path.read_bytes() + b"\n")
        status, said = verbalise(activations())
        assert status == 1 and f"{name}: is not the file that fetch_model described" in said

    def test_the_scores_are_of_the_words_against_the_named_layer(
        self, verbalise: Callable[..., Any], pair: dict[str, Any]
    ) -> None:
        assert verbalise(activations())[0] == 0
        found = [row for row in rows() if row["status"] == "ok"]
        real = torch.cat([stored_vectors(i, LAYER) for i in range(N) if i != 1]).float().numpy()
        maker = reconstruct.load(nla_model(pair["ar"]), json.loads(Path("AR.json").read_text()))
        made = maker.reconstruct([SAID] * len(real)).numpy()
        expected = scores.scores(made, real, scores.mse_of_mean([real]))
        for key in ("mse", "cosine", "fve"):
            assert [row[key] for row in found] == pytest.approx([getattr(each, key) for each in expected], abs=1e-6)
        assert provenance.read(Path("V.parquet"))["mean_mse"] == pytest.approx(scores.mse_of_mean([real]))

    def test_the_mean_is_taken_of_a_few_activations_at_once(
        self, verbalise: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert verbalise(activations())[0] == 0
        whole, mean_of = rows(), scores.mse_of_mean
        sizes: list[int] = []

        def watched(blocks: Iterable[np.ndarray]) -> float:
            given = list(blocks)
            sizes.extend(map(len, given))
            return mean_of(given)

        monkeypatch.setattr(nla_job, "BLOCK", 4)
        monkeypatch.setattr(scores, "mse_of_mean", watched)
        assert verbalise(activations())[0] == 0
        assert sizes == [4, 4, 4, 3]
        assert [row["fve"] for row in rows()] == [row["fve"] and pytest.approx(row["fve"]) for row in whole]

    def test_activations_that_are_all_the_same_explain_nothing(
        self, verbalise: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(globals(), "stored_vectors", lambda *_: torch.ones(3, WIDTH).bfloat16())
        status, said = verbalise(activations())
        assert (
            status == 1 and "A0-of-1.safetensors: its activations of layer 2 have no variance to be explained" in said
        )

    def test_a_table_that_labels_the_dataset_anew_has_its_activations(self, verbalise: Callable[..., Any]) -> None:
        paths = activations()
        assert verbalise(paths)[0] == 0
        whole, texts = rows(), provenance.sha256(Path("D.parquet"))
        data = [{**row, "label": "graded"} for row in tables.read(Path("D.parquet"), DATASET).to_pylist()]
        tables.write(Path("D.parquet"), data, DATASET, {"relabels": {"dataset": "D", "sha256": texts}})
        status, said = verbalise(paths)
        assert status == 0, said
        assert rows() == whole

    def test_the_mean_s_error_may_be_given(self, verbalise: Callable[..., Any]) -> None:
        assert verbalise(activations(), mean_mse=0.7335)[0] == 0
        for row in rows():
            assert row["fve"] == (None if row["mse"] is None else pytest.approx(1 - row["mse"] / 0.7335))

    def test_without_a_reconstructor(self, verbalise: Callable[..., Any]) -> None:
        assert verbalise(activations(), reconstructor=None)[0] == 0
        assert {row["mse"] for row in rows()} == {None} and rows()[0]["text"] == SAID

    def test_chosen_splits_and_rows(self, verbalise: Callable[..., Any]) -> None:
        assert verbalise(activations(), splits=["test"], rows=[-1, 0, 5])[0] == 0
        assert [(row["example_id"], row["token_index"]) for row in rows()] == [
            ("e4", 4), ("e4", 9), ("e5", 4), ("e5", 9)
        ]  # fmt: skip
        assert verbalise(activations(), splits=["train"], rows=[5])[0] == 0
        assert [row["status"] for row in rows()] == ["empty", "invalid", "empty", "empty"]

    def test_shards_give_the_rows_of_the_whole(self, verbalise: Callable[..., Any]) -> None:
        assert verbalise(activations())[0] == 0
        whole, parts = rows(), []
        for shard in ("000-of-002", "001-of-002"):
            assert verbalise(activations(2), "--shard", shard)[0] == 0
            parts += rows()
        assert parts == whole  # fve too: it is relative to the whole capture

    def test_a_shard_without_an_example_of_the_splits_has_no_rows(self, verbalise: Callable[..., Any]) -> None:
        assert verbalise(activations(2), "--shard", "000-of-002", splits=["test"])[0] == 0
        assert rows() == []

    def test_spans_that_are_the_same_token_or_none(self, verbalise: Callable[..., Any]) -> None:
        spans = ["last_prompt", "reasoning", "answer_start"]
        paths = activations(positions=(4, -1, 4), store="spans", spans=spans, dtype="bfloat16")
        assert verbalise(paths, splits=["test"])[0] == 0
        assert [(row["example_id"], row["token_index"]) for row in rows()] == [("e4", 4), ("e5", 4)]
        assert verbalise(paths, splits=["test"], rows=[1])[0] == 0
        assert [(row["token_index"], row["status"]) for row in rows()] == [(None, "empty")] * 2

    @pytest.mark.parametrize(
        ("changes", "header", "said"),
        [
            ({"layer": 1}, {}, "was made for layer 2, as its nla_meta.yaml says, and the config says `layer: 1`"),
            ({}, {"width": 16}, "has width 16, and the verbaliser 'av' reads 32"),
            ({"subject": "llama"}, {}, "holds activations of 'qwen', and the verbaliser was made for 'llama'"),
            ({}, {"hook": "input_layernorm"}, "verbalisers read `hook: residual`"),
            ({}, {"store": "mean"}, "stores mean, and a verbaliser reads tokens"),
            ({}, {"layers": [0, 1]}, "holds layers [0, 1], and the verbaliser reads layer 2"),
            ({}, {"dataset_sha256": "0"}, "was read from another version of dataset D"),
            ({"splits": ["validation"]}, {}, "holds no example of the splits validation"),
        ],
    )
    def test_what_it_was_not_made_for(
        self, verbalise: Callable[..., Any], changes: dict[str, Any], header: dict[str, Any], said: str
    ) -> None:
        status, told = verbalise(activations(**header), **changes)
        assert status == 1 and said in told and "error: " in told

    @pytest.mark.parametrize(
        ("sidecar", "said"),
        [
            (meta("ar", extraction_layer_index=1), "take the two that were released as a pair"),
            (meta("av"), "is that of a verbaliser (role: av)"),
        ],
    )
    def test_pairs_that_are_none(
        self, run: Run, verbalise: Callable[..., Any], pair: dict[str, Any], tmp_path: Path, sidecar: str, said: str
    ) -> None:
        (tmp_path / "ar" / "nla_meta.yaml").write_text(sidecar, encoding="utf-8")
        assert run("fetch_model.py", "--spec", json.dumps({"models": pair["ar"]}), "--output", "AR.json")[0] == 0
        status, told = verbalise(activations())
        assert status == 1 and said in told

    def test_a_reconstructor_without_its_files(self, verbalise: Callable[..., Any]) -> None:
        status, said = verbalise(activations(), "--reconstructor")
        assert status == 1 and "the flag --reconstructor is not given" in said


def nla_model(entry: dict[str, Any]) -> Any:
    from candor.config.models import FolderModel

    return FolderModel(**entry)


class Killed(Exception):
    pass


class TestResuming:
    def test_a_killed_job_goes_on_with_the_next_chunk(
        self, verbalise: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        paths = activations()
        assert verbalise(paths, temperature=1.0, max_new_tokens=9)[0] == 0
        whole = Path("V.parquet").read_bytes()
        Path("V.parquet").unlink()
        said, asked = nla.ActivationVerbaliser.verbalise, []

        def dying(self: Any, vectors: Tensor, names: Sequence[str], sampling: Sampling) -> list[Explanation]:
            if len(asked) == 3:
                raise Killed
            asked.append(list(names))
            return said(self, vectors, names, sampling)

        monkeypatch.setattr(nla.ActivationVerbaliser, "verbalise", dying)
        with pytest.raises(Killed):
            verbalise(paths, temperature=1.0, max_new_tokens=9)
        assert not Path("V.parquet").exists()
        asked.clear()
        with pytest.raises(Killed):
            verbalise(paths, temperature=1.0, max_new_tokens=9)
        assert asked[0] == ["e3/0/4", "e3/0/7"]  # six of the fifteen are there
        monkeypatch.setattr(nla.ActivationVerbaliser, "verbalise", said)
        assert verbalise(paths, temperature=1.0, max_new_tokens=9)[0] == 0
        assert Path("V.parquet").read_bytes() == whole
        assert not list(Path("results/.partial").iterdir())

    def test_words_that_are_all_there_need_no_verbaliser(
        self, verbalise: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        paths, load = activations(), nla.load
        with monkeypatch.context() as patch:
            patch.setattr(reconstruct.Reconstructor, "reconstruct", lambda *_: (_ for _ in ()).throw(Killed()))
            with pytest.raises(Killed):
                verbalise(paths)
        with monkeypatch.context() as patch:
            patch.setattr(nla, "load", lambda *_: pytest.fail("the verbaliser was loaded again"))
            assert verbalise(paths)[0] == 0
        assert nla.load is load and rows()[0]["mse"] is not None

    def test_one_model_at_a_time(self, verbalise: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
        held: list[Any] = []
        loads = {"verbaliser": nla.load, "reconstructor": reconstruct.load}

        def verbaliser(*args: Any) -> Any:
            speaker = loads["verbaliser"](*args)
            held.append(weakref.ref(speaker.network))
            return speaker

        def reconstructor(*args: Any) -> Any:
            gc.collect()
            assert held[0]() is None, "the verbaliser is still in memory"
            held.append("reconstructor")
            return loads["reconstructor"](*args)

        monkeypatch.setattr(nla, "load", verbaliser)
        monkeypatch.setattr(reconstruct, "load", reconstructor)
        assert verbalise(activations())[0] == 0
        assert held[1:] == ["reconstructor"]


class TestChat:
    @pytest.fixture
    def told(self, run: Run, tmp_path: Path) -> Callable[..., tuple[int, str]]:
        """Run verbalise.py with a local client: the small Llama."""
        dataset()
        entry = entry_of(small_folder(tmp_path / "model"))
        assert run("fetch_model.py", "--spec", json.dumps({"models": entry}), "--output", "M.json")[0] == 0

        def told(*more: Any, template: str = "{prompt}\n\nWhat is it?", **changes: Any) -> tuple[int, str]:
            Path("t.txt").write_text(f"[system]\nYou describe.\n\n[user]\n{template}\n")
            config = {"kind": "chat", "client": "c", "template": "t.txt", "max_tokens": 5, **changes}
            client = {"provider": "local", "subject": "tiny", "batch_size": 2}
            spec = json.dumps({"verbalisers": config, "models": entry, "clients": client})
            flags = ("--spec", spec, "--verbaliser", "mine", "--data", "D.parquet", "--model", "M.json")
            return run("verbalise.py", *flags, "--threads", 1, "--output", "V.parquet", *more)

        return told

    def test_a_row_of_each_example_and_no_activation(self, told: Callable[..., Any]) -> None:
        status, said = told()
        assert status == 0, said
        assert [(row["example_id"], row["sample_index"], row["token_index"]) for row in rows()] == [
            (f"e{i}", 0, None) for i in range(N)
        ]
        assert {row["mse"] for row in rows()} == {None} and all(row["text"] for row in rows())
        made = provenance.read(Path("V.parquet"))
        assert made["reads"] == "the prompt" and made["usd"] == 0 and "t.txt" in made["inputs"]

    def test_a_row_of_each_response(self, told: Callable[..., Any]) -> None:
        answers = [(f"e{i}", k) for i in range(N) for k in (0, 1)]
        given = {"token_ids": [], "reasoning": None, "answer": None, "prompt_tokens": 1, "new_tokens": 1, "seed": 0}
        table = [
            {**given, "example_id": id, "sample_index": k, "text": "Yes." if k else "", "status": "ok"}
            for id, k in answers
        ]
        tables.write(Path("G.parquet"), table, GENERATION, {})
        shown = {"response": True, "template": "{prompt} {response}", "splits": ["test"]}
        status, said = told("--generations", "G.parquet", **shown)
        assert status == 0, said
        assert [(row["example_id"], row["sample_index"]) for row in rows()] == answers[-4:]
        assert [row["status"] == "empty" for row in rows()] == [True, False, True, False]
        assert provenance.read(Path("V.parquet"))["reads"] == "the prompt and the response"

    def test_what_is_missing(self, told: Callable[..., Any]) -> None:
        status, said = told(response=True, template="{prompt} {response}")
        assert status == 1 and "name the table with --generations" in said
        status, said = told("--model")
        assert status == 1 and "verbaliser 'mine' asks the client 'c', which runs 'tiny' here" in said
        status, said = told(template="{prompt} {activation}")
        assert status == 1 and "is not a placeholder" in said
