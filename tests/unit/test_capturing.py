"""generate_and_capture.py on a small model: rows of a second pass, texts as without it, the same bytes after a kill."""

import copy
import json
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from candor import provenance, tables
from candor.activations.files import Activations, Header
from candor.activations.hooks import reading
from candor.activations.places import places
from candor.chat_text import ROLE_CODES, encode, open_turn, token_ids
from candor.config.captures import Capture
from candor.config.samplings import Sampling
from candor.generations import capturing, transformers_engine
from candor.generations.capturing import Answer, answer
from candor.generations.job import respond
from candor.generations.transformers_engine import TransformersEngine
from candor.models import Subject
from candor.schemas.dataset import DATASET
from candor.schemas.generation import GENERATION
from tests.small_models import BLOCKS, SENTENCES, WIDTH, small_folder

ROOT = Path(__file__).parents[2]
Maker = Callable[..., Subject]
Job = Callable[..., str]
ENDS = frozenset(range(0, 400, 23))
SAMPLING = Sampling(temperature=0.8, top_k=50, seed=3, max_new_tokens=14, batch_size=3)
LAYERS = [0, 2, BLOCKS - 1]
POLICIES: dict[str, dict[str, Any]] = {
    "even over the response": {"positions": "even", "k": 4, "of": "response"},
    "even over the text": {"positions": "even", "k": 7, "of": "text"},
    "last of the prompt": {"positions": "last_prompt"},
    "ends of the response": {"positions": "ends"},
    "all of the prompt": {"positions": "all", "of": "prompt"},
    "indices": {"positions": [0, -1]},
    "tokens": {"store": "tokens", "drop_first": 0},
}
TEXTS = [sentence[:end] for sentence in SENTENCES for end in (4, 30, 70)]


def capture_of(**keys: Any) -> Capture:
    given = {"sampling": "drawn", "store": "positions", "layers": LAYERS, **keys}
    return Capture(subject="tiny", **given)


def header_of(capture: Capture, dtype: str = "float32") -> Header:
    return Header(
        subject="tiny",
        revision=None,
        hook="residual",
        layers=capture.stored_layers(BLOCKS),
        mean_layers=[],
        store=capture.store,
        width=WIDTH,
        blocks=BLOCKS,
        dtype=dtype,
        dataset="D",
        dataset_sha256="",
        shard="000-of-001",
        example_ids=[],
        sample_indices=[],
    )


def items(texts: Sequence[str] = TEXTS) -> list[Any]:
    return [(f"r{i}", 0, [{"role": "user", "content": text}]) for i, text in enumerate(texts)]


def answers(subject: Subject, capture: Capture, ends: frozenset[int] = ENDS, dtype: str = "float32") -> list[Answer]:
    engine = TransformersEngine(subject, 3, ends)
    return answer(engine, subject.tokenizer, SAMPLING, capture, header_of(capture, dtype), items())


def prompt_of(subject: Subject, item: Any) -> list[int]:
    return token_ids(open_turn(item[2], subject.tokenizer).text, subject.tokenizer)


def second_pass(subject: Subject, item: Any, found: Answer, layers: Sequence[int]) -> dict[int, torch.Tensor]:
    """Layer -> what a pass over the stored token ids reads at the stored positions."""
    read = prompt_of(subject, item) + found.row["token_ids"][:-1]
    with reading(subject.model, "residual", layers) as reader:
        seen = reader.read(torch.tensor([read]))
        return {layer: seen[layer][0][found.columns["positions"]] for layer in layers}


def furthest(one: torch.Tensor, other: torch.Tensor) -> float:
    """The greatest distance of two rows, as a share of the other's length."""
    one, other = one.double(), other.double()
    return float(((one - other).norm(dim=1) / other.norm(dim=1)).max())


class TestASecondPass:
    @pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
    def test_reads_the_same_in_float32(self, tiny: Maker, policy: dict[str, Any]) -> None:
        subject, capture, rows = tiny(), capture_of(**policy), 0
        for item, found in zip(items(), answers(subject, capture), strict=True):
            prompt = len(prompt_of(subject, item))
            read = prompt + len(found.row["token_ids"]) - 1
            assert found.columns.get("positions", []) == places(capture, prompt, read)
            if found.columns:
                again = second_pass(subject, item, found, LAYERS)
                assert max(furthest(found.layers[layer], again[layer]) for layer in LAYERS) < 1e-5
                rows += len(found.columns["positions"])
        assert rows >= 2 * len(TEXTS) - 4 or policy == {"positions": "last_prompt"}

    @pytest.mark.parametrize("family", ["qwen2", "gemma3"])
    def test_of_other_families(self, tiny: Maker, family: str) -> None:
        subject, capture = tiny(family), capture_of(store="tokens")
        for item, found in zip(items(), answers(subject, capture), strict=True):
            again = second_pass(subject, item, found, LAYERS)
            assert max(furthest(found.layers[layer], again[layer]) for layer in LAYERS) < 1e-5

    def test_reads_the_same_in_bfloat16_but_for_rounding(self, tiny: Maker) -> None:
        subject, capture = tiny(dtype="bfloat16"), capture_of(store="tokens")
        exact = Subject(copy.deepcopy(subject.model).float(), subject.tokenizer)
        apart, rounding, both = 0.0, 0.0, 0.0
        for item, found in zip(items(), answers(subject, capture, dtype="bfloat16"), strict=True):
            again, truth = (second_pass(each, item, found, LAYERS) for each in (subject, exact))
            for layer in LAYERS:
                assert found.layers[layer].dtype == torch.bfloat16
                apart = max(apart, furthest(found.layers[layer], truth[layer]))
                rounding = max(rounding, furthest(again[layer], truth[layer]))
                both = max(both, furthest(found.layers[layer], again[layer]))
        assert 0 < apart < 2 * rounding
        assert both < 2 * rounding  # as far as a second pass is from float32


class TestRows:
    def test_say_which_token_they_stand_for_and_whose_it_is(self, tiny: Maker) -> None:
        subject = tiny()
        for item, found in zip(items(), answers(subject, capture_of(store="tokens")), strict=True):
            asked = encode(item[2], subject.tokenizer, 999, "right", generation_prompt=True)
            read = asked.token_ids + found.row["token_ids"][:-1]
            assert found.columns["positions"] == list(range(1, len(read)))
            assert found.columns["token_ids"] == read[1:]
            assert found.columns["roles"] == [*asked.roles, *[ROLE_CODES["assistant"]] * len(read)][1 : len(read)]

    def test_a_response_of_the_longest_length_was_read_whole(self, tiny: Maker) -> None:
        found = answers(tiny(), capture_of(positions="ends"))
        for each in found:
            assert each.status == ("ok" if len(each.row["token_ids"]) > 1 else "empty")
        assert "truncated" in {each.row["status"] for each in found}

    def test_a_response_that_ends_at_once_has_none_of_its_own(self, tiny: Maker) -> None:
        for each in answers(tiny(), capture_of(positions="ends"), ends=frozenset(range(400))):
            assert (each.columns, each.layers, each.status) == ({}, {}, "empty")
        for each in answers(tiny(), capture_of(positions="last_prompt"), ends=frozenset(range(400))):
            assert (len(each.columns["positions"]), each.status) == (1, "ok")

    def test_a_text_that_is_not_finite_is_marked_and_harms_no_other(self, tiny: Maker) -> None:
        subject, capture = tiny(), capture_of(positions="last_prompt")
        healthy = answers(subject, capture)
        poison = subject.tokenizer("é")["input_ids"][0]
        with torch.no_grad():
            subject.model.get_input_embeddings().weight[poison] = torch.nan
        found = answers(subject, capture)
        broken = {i for i, each in enumerate(found) if each.status == "not_finite"}
        assert broken and len(broken) < len(found)
        for i, each in enumerate(found):
            assert bool(each.columns) == (i not in broken)
            if i not in broken and each.row == healthy[i].row:
                assert torch.equal(each.layers[0], healthy[i].layers[0])


class TestTexts:
    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_are_those_without_a_capture(self, tiny: Maker, dtype: str) -> None:
        subject = tiny(dtype=dtype)
        plain = respond(TransformersEngine(subject, 3, ENDS), subject.tokenizer, SAMPLING, items())
        assert [each.row for each in answers(subject, capture_of(store="tokens"), dtype=dtype)] == plain

    def test_a_row_alone_is_copied_out_of_a_slot(self, tiny: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
        taken: list[int] = []
        usual = transformers_engine.Slots.take

        def counted(self: Any, name: Any, slot: int, positions: Sequence[int]) -> torch.Tensor:
            taken.append(len(positions))
            return usual(self, name, slot, positions)

        monkeypatch.setattr(transformers_engine.Slots, "take", counted)
        answers(tiny(), capture_of(positions="last_prompt"))
        assert taken == [1] * len(TEXTS) * len(LAYERS)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Job:
    """Run generate_and_capture.py in tmp_path on a small model and D.parquet, with a sampling and a capture."""
    monkeypatch.chdir(tmp_path)
    folder = small_folder(Path("model"))
    with safe_open(folder / "model.safetensors", "pt") as file:
        parameters = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118
    entry = {"source": "folder", "path": str(folder), "name": "Tiny", "device": "cpu", "dtype": "float32"}
    entry |= {"blocks": BLOCKS, "width": WIDTH, "parameters": parameters}

    def script(name: str, *arguments: Any) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        try:
            runpy.run_path(str(ROOT / "scripts" / name), run_name="__main__")
        except SystemExit as ended:
            raise AssertionError(f"{capfd.readouterr().err}{ended.code}") from None
        return capfd.readouterr().err

    script("fetch_model.py", "--spec", json.dumps({"models": entry}), "--output", "M.json")
    dataset(TEXTS)

    def run(
        sampling: dict[str, Any], capture: dict[str, Any], *more: Any, name: str = "generate_and_capture.py"
    ) -> str:
        spec = {
            "samplings": {"temperature": 0.8, "max_new_tokens": 6, **sampling},
            "captures": {"subject": "tiny", "sampling": "drawn", "layers": [1, 3], "store": "positions", **capture},
            "models": entry,
            "ablations": {"direction": "arms"},
        }
        files = ("--model", "M.json", "--data", "D.parquet", "--output", "G.parquet")
        own = () if name == "generate.py" else ("--activations", "A.safetensors")
        return script(name, "--spec", json.dumps(spec), *files, *own, "--threads", 1, *more)

    return run


def dataset(texts: Sequence[str]) -> None:
    """D.parquet, a dataset table of one user turn each."""
    rest = {"split": "test", "label": None, "rating": None, "attributes": "{}", "truncated": False}
    rows = [{**rest, "example_id": id, "group_id": id, "messages": messages} for id, _, messages in items(texts)]
    tables.write(Path("D.parquet"), rows, DATASET, {})


def responses() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = tables.read(Path("G.parquet"), GENERATION).to_pylist()
    return rows


EVEN = {"positions": "even", "k": 3, "of": "response"}


class TestTheJob:
    def test_makes_both_files_in_the_order_of_the_dataset(self, job: Job) -> None:
        said = job({"batch_size": 2}, {**EVEN, "checkpoint_every": 5}, "--code", "c0de")
        assert f"{len(TEXTS)} of {len(TEXTS)} responses" in said
        found, ids = Activations([Path("A.safetensors")]), [f"r{i}" for i in range(len(TEXTS))]
        found.expect(
            layers=[1, 3], dataset_sha256=provenance.sha256(Path("D.parquet")), subject="tiny", store="positions"
        )
        assert found.example_ids == ids == [row["example_id"] for row in responses()]
        assert found.lengths().tolist() == found.n_tokens == [3] * len(TEXTS)
        assert set(found.statuses) == {"ok"} and {row["status"] for row in responses()} == {"truncated"}
        ends = [row["prompt_tokens"] + len(row["token_ids"]) - 2 for row in responses()]
        assert found.index("positions")[2::3].tolist() == ends
        assert found.index("token_ids")[2::3].tolist() == [row["token_ids"][-2] for row in responses()]
        for path in (Path("A.safetensors"), Path("G.parquet")):
            made = provenance.read(path)
            assert (made["script"], made["code"]) == ("generate_and_capture.py", "c0de")
            assert made["inputs"].keys() == {"M.json", "D.parquet"}
        assert not list(Path("results/.partial").iterdir())

    def test_gives_the_responses_of_generate(self, job: Job) -> None:
        job({"batch_size": 2}, {**EVEN, "checkpoint_every": 5})
        found = responses()
        job({"batch_size": 2}, {}, name="generate.py")
        assert responses() == found

    def test_shards_are_the_whole(self, job: Job) -> None:
        job({}, EVEN)
        whole, rows = Activations([Path("A.safetensors")]), responses()
        paths, parts = [], []
        for shard in ("000-of-002", "001-of-002"):
            job({}, EVEN, "--shard", shard)
            paths.append(Path("A.safetensors").rename(f"{shard}.safetensors"))
            parts += responses()
        halves = Activations(paths)
        assert parts == rows and halves.example_ids == whole.example_ids
        for name in ("positions", "token_ids", "roles", "n_tokens", "status"):
            assert torch.equal(halves.index(name), whole.index(name))
        torch.testing.assert_close(halves.layer(3), whole.layer(3), rtol=1e-5, atol=1e-5)

    def test_a_prompt_that_is_too_long_has_no_rows(self, job: Job) -> None:
        job({"max_prompt_tokens": 30}, EVEN)
        found = Activations([Path("A.safetensors")])
        long = [row["prompt_tokens"] > 30 for row in responses()]
        assert 0 < sum(long) < len(long)
        assert [status == "invalid" for status in found.statuses] == long
        assert [length == 0 for length in found.lengths().tolist()] == long

    def test_a_shard_without_a_row_is_a_file(self, job: Job) -> None:
        job({"max_prompt_tokens": 1}, EVEN)
        found = Activations([Path("A.safetensors")])
        assert set(found.statuses) == {"invalid"} and found.layer(1).shape == (0, WIDTH)

    def test_an_ablated_subject_is_read_without_its_direction(self, job: Job) -> None:
        direction = torch.randn(WIDTH, generator=torch.Generator().manual_seed(0))
        save_file({"arms": direction}, "directions.safetensors")
        job({}, {**EVEN, "subject": "ablated"}, "--directions", "directions.safetensors")
        found = Activations([Path("A.safetensors")])
        assert found.header.subject == "ablated"
        assert float((found.layer(3) @ (direction / direction.norm())).abs().max()) < 1e-4
        assert "directions.safetensors" in provenance.read(Path("A.safetensors"))["inputs"]

    @pytest.mark.parametrize(
        ("sampling", "capture", "sentence"),
        [
            (
                {"n": 2},
                EVEN,
                "sampling drawn draws 2 responses a prompt, where activations are stored of one; take n: 1",
            ),
            ({"reasoning": "prompted"}, EVEN, "sampling drawn asks for reasoning in a request of its own, so that no"),
            ({"engine": "vllm"}, EVEN, "sampling drawn has engine: vllm, which cannot be watched"),
            ({}, {"positions": [-1], "sampling": None}, "the capture has no `sampling`; extract_activations.py reads"),
            ({}, {**EVEN, "layers": [9]}, "there is no block 9 to watch: the model has 4"),
        ],
    )
    def test_what_cannot_be_is_a_sentence(
        self, job: Job, sampling: dict[str, Any], capture: dict[str, Any], sentence: str
    ) -> None:
        with pytest.raises(AssertionError, match=sentence):
            job(sampling, capture)


class Killed(BaseException):
    """Stands in for a signal that ends the process."""


class TestAfterAKill:
    OPTIONS = ({"batch_size": 2}, {**EVEN, "checkpoint_every": 3})

    @pytest.fixture
    def expected(self, job: Job) -> dict[str, bytes]:
        """What an undisturbed job writes."""
        job(*self.OPTIONS)
        return {name: Path(name).read_bytes() for name in ("G.parquet", "A.safetensors")}

    def killed(self, job: Job, monkeypatch: pytest.MonkeyPatch, where: str, calls: int) -> list[Path]:
        """Stop a job at so manieth a call of a function of capturing; give the files that are left."""
        usual, count = getattr(capturing, where), 0

        def fatal(*arguments: Any) -> Any:
            nonlocal count
            count += 1
            if count == calls:
                raise Killed
            return usual(*arguments)

        for name in ("G.parquet", "A.safetensors"):
            Path(name).unlink()
        with monkeypatch.context() as patch:
            patch.setattr(capturing, where, fatal)
            with pytest.raises(Killed):
                job(*self.OPTIONS)
        assert not Path("G.parquet").exists()
        return sorted(Path("results/.partial").glob("*/*.*"))

    def again(self, job: Job, monkeypatch: pytest.MonkeyPatch, expected: dict[str, bytes]) -> int:
        """Finish the job, which is to write the same bytes; give the number of calls of the engine that it took."""
        usual, count = capturing.answer, 0

        def counted(*arguments: Any) -> Any:
            nonlocal count
            count += 1
            return usual(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(capturing, "answer", counted)
            job(*self.OPTIONS)
        assert {name: Path(name).read_bytes() for name in expected} == expected
        assert not list(Path("results/.partial").iterdir())
        return count

    def test_it_goes_on_after_the_last_whole_chunk(
        self, job: Job, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        left = self.killed(job, monkeypatch, "answer", 3)
        assert [path.name for path in left] == [
            f"0000{i}.{kind}" for i in (0, 1) for kind in ("parquet", "safetensors")
        ]
        assert self.again(job, monkeypatch, expected) == 2

    def test_each_chunk_can_be_read_by_itself(
        self, job: Job, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows, left = responses(), self.killed(job, monkeypatch, "answer", 3)
        generations, activations = tables.read(left[2], GENERATION).to_pylist(), Activations([left[3]])
        assert generations == rows[3:6]
        assert activations.example_ids == ["r3", "r4", "r5"] and activations.layer(1).shape == (9, WIDTH)

    def test_a_chunk_without_its_table_or_with_a_damaged_file_is_made_again(
        self, job: Job, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        left = self.killed(job, monkeypatch, "answer", 4)
        left[4].unlink()
        left[3].write_bytes(left[3].read_bytes()[:-7])
        assert self.again(job, monkeypatch, expected) == 3

    def test_a_job_killed_while_it_puts_chunks_together_generates_nothing_again(
        self, job: Job, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.killed(job, monkeypatch, "_put_together", 1)
        assert self.again(job, monkeypatch, expected) == 0

    def test_another_capture_does_not_take_up_what_was_left(
        self, job: Job, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.killed(job, monkeypatch, "answer", 3)
        job(self.OPTIONS[0], {**self.OPTIONS[1], "k": 2})
        assert set(Activations([Path("A.safetensors")]).lengths().tolist()) == {2}
        assert len(list(Path("results/.partial").iterdir())) == 1

    def test_a_real_kill_leaves_chunks_that_the_next_job_takes_up(
        self, job: Job, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in expected:
            Path(name).unlink()
        arguments = json.dumps(sys.argv)
        code = KILLED.format(paths=[str(ROOT), str(ROOT / "scripts")], arguments=arguments, root=str(ROOT))
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert self.again(job, monkeypatch, expected) == 2


KILLED = """
import json, os, runpy, signal, sys
sys.path[:0] = {paths!r}
from candor.generations import capturing
usual, calls = capturing.answer, []
def fatal(*arguments):
    calls.append(1)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return usual(*arguments)
capturing.answer = fatal
sys.argv = json.loads({arguments!r})
runpy.run_path({root!r} + "/scripts/generate_and_capture.py", run_name="__main__")
"""
