"""How far judges agree, each two of them and all together, and how often they are right where gold labels tell."""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from candor.config.figures import Figure
from candor.figures import forest, marks, style
from candor.figures.forest import Block, Layout
from candor.figures.inputs import Agreement, Drawn, FigureInput, Mark, Row
from candor.figures.plots.code_vulnerability import GOLD

PAIR = style.Look("#0072B2", "o", "-", True, "")
ALL = style.Look("#0072B2", "D", "-", True, "")
RIGHT = style.Look("#009E73", "o", "-", False, "")
WIDTHS = (1.0, 1.0, 1.4)
"""Widths of the panels, as shares: kappa, shares, counts in words."""
TITLE_WIDTH = 1.4  # inches
COUNTS_WIDTH = 1.7


class Line(NamedTuple):
    """What stands beside each other: a name, a kappa, a share, and counts in words."""

    name: str
    look: style.Look
    kappa: Row | None
    share: Row | None
    counts: str
    further: Sequence[Row] = ()  # behind the counts

    def entry(self) -> str:
        """The name with what it rests on, and below it as many empty lines as the counts are higher."""
        row = self.share or self.kappa
        rests = "" if row is None else f"n {row['n']}, {row['n_skipped']} skipped"
        words = style.wrap(f"{self.name}: {rests}", forest.NAME_WIDTH, style.NOTE_SIZE)
        if "\n" in words:
            words = f"{style.wrap(self.name, forest.NAME_WIDTH, style.NOTE_SIZE)}\n{rests}"
        return words + "\n" * max(0, self.counts.count("\n") - words.count("\n"))


class Section(NamedTuple):
    """Lines under a heading."""

    panel: Agreement
    heading: str
    lines: Sequence[Line]


def draw(data: FigureInput, figure: Figure) -> Drawn:
    """A block for the judges of each panel among themselves, and one for each judge against gold labels."""
    sections = [section for panel in data.panels for section in _sections(panel, len(data.panels) > 1)]
    layout = Layout([Block(each.heading, [line.entry() for line in each.lines]) for each in sections])
    picture = style.page(style.FULL, layout.height + 0.75, figure.title, _notes(data), _keys(data))
    counted = any(line.counts for section in sections for line in section.lines)
    widths = WIDTHS if counted else WIDTHS[:2]
    panels = picture.subplots(1, len(widths), width_ratios=widths)
    kappas, shares = panels[:2]
    drawn: list[Mark] = []
    for section, places in zip(sections, layout.places, strict=True):
        for line, at in zip(section.lines, places, strict=True):
            value(kappas, line.kappa, at, line.look)
            value(shares, line.share, at, line.look)
            if line.counts:
                _say(panels[2], at, line.counts)
            drawn += [mark(section.panel, row) for row in (line.kappa, line.share, *line.further) if row is not None]
    every = [line.kappa for section in sections for line in section.lines if line.kappa is not None]
    marks.value_axis(kappas, [*every, {"value": 1.0, "low": None, "high": None}], 0.0)
    kappas.set_title("kappa", loc="left")
    kappas.set_xlabel("0: as by chance")
    forest.share_axis(shares, _shares_title(data), TITLE_WIDTH)
    shares.set_xlabel("Share of texts")
    for axes in panels[2:]:
        axes.set_title("verdicts", loc="left")
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
    layout.furnish(panels)
    names = [label.get_text().rstrip("\n") for label in kappas.get_yticklabels()]
    kappas.set_yticks(kappas.get_yticks(), names)  # in the middle of their lines
    return Drawn(picture, drawn)


def _say(axes: Axes, at: float, words: str) -> None:
    axes.text(0, at, words, transform=axes.get_yaxis_transform(), va="center", fontsize=style.NOTE_SIZE)


def _shares_title(data: FigureInput) -> str:
    shown = ["agreement"] if any(len(panel.judges) > 1 for panel in data.panels) else []
    shown += ["rightly judged"] if any(panel.config.gold for panel in data.panels) else []
    return ", or ".join(shown)


def value(axes: Axes, row: Row | None, at: float, look: style.Look) -> None:
    """A value, or why there is none; nothing where none belongs."""
    if row is None:
        return
    forest.value(axes, row, at, look)
    if row["value"] is None and _undefined(row):
        axes.texts[-1].set_text("undefined")


def _sections(panel: Agreement, several: bool) -> list[Section]:
    names = titles_of(panel)
    start = f"{panel.config.title}: " if several else ""
    sections = []
    if len(names) > 1:
        lines = [_pair(panel, names, one, other) for one, other in combinations(names, 2)]
        lines += [_all(panel, names)] if len(names) > 2 else []
        sections.append(Section(panel, f"{start}{'j' if several else 'J'}udges among themselves", lines))
    for judge, name in names.items() if panel.config.gold else ():
        sections.append(Section(panel, f"{start}{name} against gold labels", _gold(panel, judge)))
    return sections


def _pair(panel: Agreement, names: dict[str, str], one: str, other: str) -> Line:
    kappa, share = (panel.row(measure, one, other) for measure in ("cohen_kappa", "agreement"))
    return Line(f"{names[one]} and {names[other]}", PAIR, kappa, share, "")


def _all(panel: Agreement, names: dict[str, str]) -> Line:
    majority = [row for row in panel.by_verdict("majority") if row["value"] is not None]
    listed = ", ".join(f"{row['verdict']} {marks.number(row['value'])}" for row in majority)
    words = _wrapped(f"majority: {listed}") if listed else ""
    kappa, share = (panel.row(measure) for measure in ("fleiss_kappa", "agreement"))
    return Line(f"all {len(names)} judges", ALL, kappa, share, words, majority)


def _gold(panel: Agreement, judge: str) -> list[Line]:
    """A line for all texts, and two for each class whose rates are told: its own texts, and all others."""
    kappa, accuracy = (panel.row(measure, judge) for measure in ("kappa_gold", "accuracy"))
    lines = [Line("all", RIGHT, kappa, accuracy, "")]
    classes = list(dict.fromkeys(row["gold"] for row in panel.rows if row["measure"] == "confusion"))
    told = [name for name in classes if panel.row("sensitivity", judge, gold=name) is not None]
    for name in told:
        rest = [each for each in classes if each != name]
        others = rest[0] if len(rest) == 1 else f"not {name}"
        for measure, about in (("sensitivity", name), ("specificity", others)):
            if about in told and about != name:
                continue  # of two classes, the specificity of one is the sensitivity of the other
            counts = panel.by_verdict("confusion", judge, about)
            row = panel.row(measure, judge, gold=name)
            lines.append(Line(about, GOLD[measure], None, row, _listed(counts), counts))
    return lines


def _listed(counts: Sequence[Row]) -> str:
    """Counts of verdicts, those of the gold class itself first."""
    found = sorted(counts, key=lambda row: row["verdict"] != row["gold"])
    return _wrapped(", ".join(f"{row['value']:.0f} {row['verdict']}" for row in found))


def _wrapped(words: str) -> str:
    return style.wrap(words, COUNTS_WIDTH, style.NOTE_SIZE)


def titles_of(panel: Agreement) -> dict[str, str]:
    """The judges' titles by id, in the panel's order, with the id where several have one title."""
    titles = Counter(judge.title for judge in panel.judges.values())
    return {
        id: judge.title if titles[judge.title] == 1 else f"{judge.title} ({id})" for id, judge in panel.judges.items()
    }


def mark(panel: Agreement, row: Row) -> Mark:
    names = {name: row[name] for name in ("judge", "other", "verdict", "gold")}
    return marks.mark(row["measure"], row, panel=panel.id, **names, statuses=row["statuses"], remark=row["remark"])


def _keys(data: FigureInput) -> list[Line2D]:
    keys = []
    if any(len(panel.judges) > 1 for panel in data.panels):
        keys.append(marks.key(PAIR, "two judges"))
    if any(len(panel.judges) > 2 for panel in data.panels):
        keys.append(marks.key(ALL, "all judges of a panel"))
    if any(panel.config.gold for panel in data.panels):
        keys.append(marks.key(RIGHT, "judge and gold"))
        keys += [marks.key(look, measure) for measure, look in GOLD.items()]
    return keys


def _notes(data: FigureInput) -> list[str]:
    gold = any(panel.config.gold for panel in data.panels)
    several = any(len(panel.judges) > 2 for panel in data.panels)
    rows = [row for panel in data.panels for row in panel.rows]
    about = [
        "Kappa: agreement beyond chance, Cohen's of each two"
        + (" and Fleiss' of all, on the texts that all judged." if several else "."),
        "Agreement: share of texts with the same verdict.",
        *(["Majority: share of texts on which more than half of the judges say so."] if several else []),
        *(["Rightly judged: accuracy on all texts, sensitivity and specificity."] if gold else []),
        f"n: texts judged, in {marks.span(row['n_groups'] for row in rows)} groups; skipped: without a verdict"
        + (" or without a gold label." if gold else "."),
        "Undefined: a judge, or gold, has one class only." if any(_undefined(row) for row in rows) else "",
    ]
    return [
        " ".join(filter(None, about)),
        *(of_panel(panel) for panel in data.panels),
        *marks.provenance_notes(data, "bootstrap over groups; Wilson score"),
    ]


def of_panel(panel: Agreement) -> str:
    """What the judges of a panel read, who they are, and what became of it where not all is ok."""
    whole = [row for row in panel.rows if row["measure"] in ("cohen_kappa", "accuracy")]
    statuses = {name: counts for row in whole for name, counts in json.loads(row["statuses"]).items()}
    judges = []
    for id, name in titles_of(panel).items():
        spoilt = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in statuses[id].items() if status != "ok")
        judges.append(f"{name} ({panel.judges[id].kind}{f'; {spoilt}' if spoilt else ''})")
    texts = whole[0]["n"] + whole[0]["n_skipped"]
    gold = panel.config.gold if isinstance(panel.config.gold, dict) else {}
    mapped = "; ".join(f"{label} as {verdict}" for label, verdict in gold.items() if label != verdict)
    return (
        f"{panel.config.title}: {panel.config.texts}, {texts} texts; judges: {', '.join(judges)}."
        f"{f' Gold: {mapped}.' if mapped else ''}"
    )


def _undefined(row: Row) -> bool:
    return (row["remark"] or "").startswith("undefined")
