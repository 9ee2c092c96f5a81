"""The prompted baseline: what it says of examples, how a prompt is chosen, and its two scripts on a small model."""

import json
import math
import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from candor import models, provenance, tables
from candor.baselines import prompted
from candor.baselines.prompts import Prompt, PromptError
from candor.config.models import FolderModel
from candor.config.tasks import Bootstrapped
from candor.experiments.resampling import Measured
from candor.schemas.curve import CURVE
from candor.schemas.dataset import DATASET
from candor.schemas.score import SCORE
from tests.small_models import BLOCKS, WIDTH, small_folder, small_subject, small_tokenizer
from tests.small_parts import CLASSES, pair_rows, row

SCRIPTS = Path(__file__).parents[2] / "scripts"
PROMPT = Prompt("own", "reworded", "", "{conversation}\nSafe?", ("no", "yes, it is"), "a" * 64)
TASK = Bootstrapped(classes=CLASSES, train="pairs@train", control="pairs@test", bootstrap=50)


@pytest.fixture(scope="module")
def loaded() -> prompted.Loaded:
    return prompted.Loaded(small_subject(small_tokenizer()), 200, 150, {})


def blank(id: str) -> dict[str, Any]:
    return {**row(id, id, "low"), "messages": [{"role": "user", "content": " \n"}]}


def naive(loaded: prompted.Loaded, text: str) -> float:
    """Log-odds of the two replies by two passes over the whole texts."""
    network, tokenizer = loaded.subject
    found = []
    for reply in PROMPT.replies:
        start = (
            f"<|im_start|>user\n<conversation>\nuser: {text}\n</conversation>\nSafe?<|im_end|>\n<|im_start|>assistant\n"
        )
        ids = tokenizer(start + reply, add_special_tokens=False)["input_ids"]
        n = len(tokenizer(start, add_special_tokens=False)["input_ids"])
        with torch.inference_mode():
            logits = network(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        found.append(sum(float(logits[at - 1, ids[at]]) for at in range(n, len(ids))))
    return found[1] - found[0]


class TestAsking:
    def test_the_score_is_the_difference_of_log_likelihoods_and_the_probability_their_softmax(
        self, loaded: prompted.Loaded
    ) -> None:
        rows = [row("Is it safe to open?", "g", "high"), row("a", "h", "low"), row("The dog sleeps on.", "i", None)]
        found = prompted.table(prompted.ask(loaded, PROMPT, rows, "left"), rows, "pairs@test", CLASSES, "asked")
        for each in found.to_pylist():
            odds = naive(loaded, each["example_id"])
            assert each["score"] == pytest.approx(odds, abs=1e-4)
            assert each["probability"] == pytest.approx(1 / (1 + math.exp(-odds)), abs=1e-4)
            assert each["flops_monitor"] == each["flops_total"] > 0
        assert found["label"].to_pylist() == [True, False, None]
        assert found["status"].to_pylist() == ["ok"] * 3

    def test_a_blank_text_has_no_score_and_a_long_one_is_marked(self, loaded: prompted.Loaded) -> None:
        rows = [blank("e"), row("safe " * 400, "g", "high"), row("a", "h", "low")]
        told: list[int] = []
        asked = prompted.ask(loaded, PROMPT, rows, "left", told.append)
        found = prompted.table(asked, rows, "pairs@test", CLASSES, "asked").to_pylist()
        assert [each["status"] for each in found] == ["empty", "truncated", "ok"]
        assert [each["score"] is None for each in found] == [True, False, False]
        assert found[1]["n_tokens"] <= 150
        assert told == [1, 2]

    def test_a_task_of_three_classes_is_refused(self, loaded: prompted.Loaded) -> None:
        asked = prompted.ask(loaded, PROMPT, [row("a", "h", "low")], "left")
        with pytest.raises(PromptError, match="asked: a prompted baseline tells two classes apart, and the task has 3"):
            prompted.table(asked, [row("a", "h", "low")], "pairs@test", ["a", "b", "c"], "asked")


class TestChoice:
    def test_whole_groups_are_drawn_the_same_each_time(self) -> None:
        rows = [*pair_rows(20), row("other", "other", "middling")]
        found = prompted.drawn(rows, CLASSES, 9, seed=0)
        assert len(found) == 8
        assert all(sum(each["group_id"] == one["group_id"] for one in found) == 2 for each in found)
        assert found == prompted.drawn(rows, CLASSES, 9, seed=0)
        assert found != prompted.drawn(rows, CLASSES, 9, seed=1)
        assert len(prompted.drawn(rows, CLASSES, None, seed=0)) == 40

    def test_a_limit_below_every_group_is_a_sentence(self) -> None:
        with pytest.raises(PromptError, match="`limit: 1` leaves none of 40 labelled training examples"):
            prompted.drawn(pair_rows(20), CLASSES, 1, seed=0)

    def trials(self, *aurocs: float | None) -> list[prompted.Trial]:
        asked = prompted.Asked(np.zeros(0), np.zeros(0), np.zeros(0), [])
        return [
            prompted.Trial(PROMPT._replace(name=f"p{i}"), asked, Measured(auroc, None, None), Measured(1.0, None, None))
            for i, auroc in enumerate(aurocs)
        ]

    def test_the_highest_auroc_wins_and_a_tie_goes_to_the_first(self) -> None:
        assert prompted.best(self.trials(0.4, 0.7, 0.7)).prompt.name == "p1"
        assert prompted.best(self.trials(None, 0.2)).prompt.name == "p1"
        assert prompted.best(self.trials(None, None)).prompt.name == "p0"

    def test_a_prompt_is_measured_with_intervals_and_cost(self, loaded: prompted.Loaded) -> None:
        rows = [*pair_rows(6), blank("e")]
        trial = prompted.try_prompt(loaded, PROMPT, rows, TASK, "left")
        auroc, accuracy = prompted.curve_rows([trial], rows, TASK, "asked")
        assert (auroc["curve"], auroc["monitor"], auroc["dataset"], auroc["x"]) == ("own", "asked", "pairs@train", None)
        assert (auroc["metric"], accuracy["metric"]) == ("auroc", "accuracy")
        assert (auroc["n"], auroc["n_positive"], auroc["n_groups"], auroc["n_skipped"]) == (12, 6, 6, 1)
        for each in (auroc, accuracy):
            assert each["low"] <= each["value"] <= each["high"]
        right = (trial.asked.log_odds[:12] > 0) == np.array([each["label"] == "high" for each in rows[:12]])
        assert accuracy["value"] == pytest.approx(right.mean())
        assert auroc["flops"] == pytest.approx(trial.asked.flops[:12].mean())

    def test_one_class_alone_has_no_auroc_and_says_so(self, loaded: prompted.Loaded) -> None:
        rows = [row("a", "g", "low"), row("b", "h", "low")]
        trial = prompted.try_prompt(loaded, PROMPT, rows, TASK, "left")
        assert (trial.auroc.value, trial.auroc.remark) == (None, "one class only")
        assert (trial.accuracy.value, trial.accuracy.remark) == (None, "one class only")


Runner = Callable[..., tuple[int, str]]


class TestScripts:
    @pytest.fixture
    def run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Runner:
        """Run a script in this process, in a folder with all that it reads; give its status and what it said."""
        monkeypatch.chdir(tmp_path)
        small_folder(Path("model"))
        n = sum(p.numel() for p in small_subject(small_tokenizer()).model.parameters())
        model = {"source": "folder", "path": "model", "name": "Tiny", "device": "cpu", "dtype": "float32"}
        model |= {"blocks": BLOCKS, "width": WIDTH, "parameters": n}
        Path("M.json").write_text(json.dumps(models.fetch(FolderModel.model_validate(model))._asdict()))
        tables.write(Path("D.parquet"), [*pair_rows(8), *pair_rows(5, "test", "t")], DATASET, {})
        for name in ("one", "two"):
            text = f"[user]\n{{conversation}}\nIs it {name}?\n[negative]\nno\n[positive]\nyes, it is\n"
            Path(f"{name}.txt").write_text(f"[wording]\nreworded\n{text}")
        Path("S.json").write_text("{}")

        def run(script: str, *arguments: Any) -> tuple[int, str]:
            task = (
                TASK.model_dump()
                if script == "choose_prompt.py"
                else TASK.model_dump(exclude={"bootstrap", "baselines"})
            )
            baseline = {"kind": "prompted", "subject": "tiny", "templates": ["one", "two"], "limit": 12}
            spec = {"tasks": task, "baselines": baseline, "models": model}
            common = ["--spec", json.dumps(spec), "--monitor", "asked", "--data", "D.parquet", "--model", "M.json"]
            templates = ["--template-files", "one.txt", "two.txt", "--threads", "1"]
            monkeypatch.setattr(sys, "argv", [script, *common, *templates, *map(str, arguments)])
            try:
                runpy.run_path(str(SCRIPTS / script), run_name="__main__")
            except SystemExit as ended:
                return 1, f"{capfd.readouterr().err}{ended.code}"
            return 0, capfd.readouterr().err

        return run

    def choose(self, run: Runner) -> tuple[int, str]:
        outputs = ("--choice", "C.json", "--templates", "T.parquet", "--scores", "train.parquet")
        return run("choose_prompt.py", "--control", "D.parquet", *outputs)

    def score(self, run: Runner) -> tuple[int, str]:
        flags = ("--part", "pairs@test", "--choice", "C.json", "--selection", "S.json", "--output", "test.parquet")
        return run("score_prompted.py", *flags)

    def test_the_way_from_prompts_to_scores(self, run: Runner) -> None:
        status, said = self.choose(run)
        assert status == 0, said
        assert "ask asked: 34 of 34 prompts" in said  # 12 for each of two prompts, and 10 control examples
        choice, curve = tables.read_json(Path("C.json")), tables.read(Path("T.parquet"), CURVE).to_pylist()
        aurocs = {each["curve"]: each["value"] for each in curve if each["metric"] == "auroc"}
        assert choice["template"] == max(aurocs, key=lambda name: aurocs[name])
        assert choice["sha256"] == provenance.sha256(Path(f"{choice['template']}.txt"))
        assert {name: each["auroc"] for name, each in choice["templates"].items()} == aurocs
        made = provenance.read(Path("train.parquet"))
        assert made["script"] == "choose_prompt.py"
        assert made["wording"] == {"one": "reworded", "two": "reworded"}
        assert {"one.txt", "two.txt", "M.json", "D.parquet"} == set(made["inputs"])
        trained = tables.read(Path("train.parquet"), SCORE).to_pylist()
        assert [each["split"] for each in trained] == ["train"] * 12 + ["test"] * 10
        assert {each["fold"] for each in trained} == {None}

        status, said = self.score(run)
        assert status == 0, said
        assert f"selection S.json: sha256 {provenance.sha256(Path('S.json'))}" in said
        scored = tables.read(Path("test.parquet"), SCORE).to_pylist()
        assert scored == trained[12:]
        assert "S.json" in provenance.read(Path("test.parquet"))["inputs"]

    def test_the_same_inputs_give_the_same_bytes(self, run: Runner) -> None:
        def made() -> Sequence[bytes]:
            assert self.choose(run)[0] == 0
            return [Path(name).read_bytes() for name in ("C.json", "T.parquet", "train.parquet")]

        assert made() == made()

    def test_a_prompt_that_was_edited_after_the_choice_is_refused(self, run: Runner) -> None:
        assert self.choose(run)[0] == 0
        path = Path(f"{tables.read_json(Path('C.json'))['template']}.txt")
        path.write_text(path.read_text().replace("Is it", "Is this"))
        status, said = self.score(run)
        assert status == 1
        assert f"template '{path.stem}' was edited since C.json chose it" in said
        assert not Path("test.parquet").exists()
