"""How far judges agree with each other, and how often they are right where gold labels tell.

Texts that a judge could not judge are left out and counted. Cohen's kappa and the agreement of a pair are of the texts
that both judged; Fleiss' kappa and the majority of those that all judged.
"""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

from candor.config.panels import Panel
from candor.metrics.agreement import cohen_kappa, fleiss_kappa
from candor.metrics.rates import Draws, Quantity, rate
from candor.panels.loading import Text

METHOD = "bootstrap over groups (kappa, and shares of several texts per group), Wilson score (other shares)"
"""How intervals are made, as figures say it."""
Row = dict[str, Any]


class Judged(NamedTuple):
    """The texts that some judges all judged: their verdicts in the judges' order, the gold ones, and the groups."""

    verdicts: list[tuple[str, ...]]
    gold: list[str | None]
    groups: list[str]


def measure(id: str, panel: Panel, texts: Sequence[Text]) -> list[Row]:
    """Rows of the agreement table."""
    draws = Draws(panel.bootstrap, panel.seed)
    rows: list[Row] = []
    for pair in combinations(panel.judges, 2):
        rows += _pair(texts, pair, draws)
    if len(panel.judges) > 2:
        rows += _all(texts, panel.judges, draws)
    for judge in panel.judges if panel.gold else ():
        rows += _against_gold(texts, judge, panel.positive, draws)
    return [{"panel": id, **row} for row in rows]


def misjudged(rows: Sequence[Row]) -> list[str]:
    """A sentence for each gold class of which a judge gives more texts another verdict than the right one."""
    counts: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        if row["measure"] == "confusion":
            counts.setdefault((row["judge"], row["gold"]), {})[row["verdict"]] = row
    sentences = []
    for (judge, gold), by_verdict in counts.items():
        most = max(by_verdict.values(), key=lambda row: row["value"])
        if most["value"] > by_verdict[gold]["value"]:
            share = 100 * most["value"] / most["n"]
            sentences.append(
                f"{judge} says {most['verdict']} of {most['value']:.0f} of {most['n']} texts ({share:.0f} %) whose "
                f"gold label is {gold}."
            )
    return sentences


def _pair(texts: Sequence[Text], judges: tuple[str, str], draws: Draws) -> list[Row]:
    found = _judged(texts, judges)
    one, other = ([verdicts[i] for verdicts in found.verdicts] for i in (0, 1))
    same = [first == second for first, second in found.verdicts]
    names = {"judge": judges[0], "other": judges[1]}
    return [
        _row("cohen_kappa", cohen_kappa(one, other, found.groups, draws), texts, judges, **names),
        _row("agreement", rate(same, found.groups, draws), texts, judges, **names),
    ]


def _all(texts: Sequence[Text], judges: Sequence[str], draws: Draws) -> list[Row]:
    found = _judged(texts, judges)
    same = [len(set(verdicts)) == 1 for verdicts in found.verdicts]
    most = [_majority(verdicts) for verdicts in found.verdicts]
    rows = [
        _row("fleiss_kappa", fleiss_kappa(found.verdicts, found.groups, draws), texts, judges),
        _row("agreement", rate(same, found.groups, draws), texts, judges),
        _row("majority", rate([name is not None for name in most], found.groups, draws), texts, judges),
    ]
    for verdict in sorted({verdict for verdicts in found.verdicts for verdict in verdicts}):
        share = rate([name == verdict for name in most], found.groups, draws)
        rows.append(_row("majority", share, texts, judges, verdict=verdict))
    return rows


def _majority(verdicts: Sequence[str]) -> str | None:
    """What more than half of the judges say."""
    verdict, count = Counter(verdicts).most_common(1)[0]
    return verdict if 2 * count > len(verdicts) else None


def _against_gold(texts: Sequence[Text], judge: str, positive: str | None, draws: Draws) -> list[Row]:
    known = [text for text in texts if text.gold is not None]
    classes = sorted({text.gold for text in known if text.gold is not None})
    found = _judged(known, [judge])
    said, gold = [verdict for (verdict,) in found.verdicts], [name for name in found.gold if name is not None]
    right = [verdict == name for verdict, name in zip(said, gold, strict=True)]
    rows = []
    for measure, of_all in (
        ("accuracy", rate(right, found.groups, draws)),
        ("kappa_gold", cohen_kappa(said, gold, found.groups, draws)),
    ):
        rows.append(_row(measure, _with_gold_counted(of_all, len(texts) - len(known)), texts, [judge], judge=judge))
    for name in [positive] if positive is not None and len(classes) == 2 else classes:
        rows += _for_class(known, judge, name, draws)
    return rows + _confusion(known, judge, classes, draws)


def _with_gold_counted(found: Quantity, without: int) -> Quantity:
    """A quantity whose remark tells how many texts have no gold, where there are any."""
    told = [f"{without} texts without gold"] if without else []
    return found._replace(remark="; ".join([*filter(None, [found.remark]), *told]) or None)


def _for_class(known: Sequence[Text], judge: str, name: str, draws: Draws) -> list[Row]:
    """How often texts of a gold class get its verdict, and all others do not."""
    rows = []
    for measure, belongs in (("sensitivity", True), ("specificity", False)):
        texts = [text for text in known if (text.gold == name) == belongs]
        found = _judged(texts, [judge])
        share = rate([(verdict == name) == belongs for (verdict,) in found.verdicts], found.groups, draws)
        rows.append(_row(measure, share, texts, [judge], judge=judge, gold=name))
    return rows


def _confusion(known: Sequence[Text], judge: str, classes: Sequence[str], draws: Draws) -> list[Row]:
    """How many texts of each gold class get each verdict, and what share of the class they are."""
    verdicts = sorted({*classes, *(verdict for (verdict,) in _judged(known, [judge]).verdicts)})
    rows = []
    for gold in classes:
        texts = [text for text in known if text.gold == gold]
        found = _judged(texts, [judge])
        counts = Counter(verdict for (verdict,) in found.verdicts)
        for verdict in verdicts:
            count = Quantity(float(counts[verdict]), None, None, len(found.verdicts), len(set(found.groups)))
            share = rate([said == verdict for (said,) in found.verdicts], found.groups, draws)
            for measure, of_class in (("confusion", count), ("rate", share)):
                rows.append(_row(measure, of_class, texts, [judge], judge=judge, verdict=verdict, gold=gold))
    return rows


def _judged(texts: Sequence[Text], judges: Sequence[str]) -> Judged:
    """The texts that all of these judges judged."""
    found = Judged([], [], [])
    for text in texts:
        verdicts = [text.verdicts[judge].verdict for judge in judges]
        if all(verdict is not None for verdict in verdicts):
            found.verdicts.append(tuple(verdict for verdict in verdicts if verdict is not None))
            found.gold.append(text.gold)
            found.groups.append(text.group)
    return found


def _row(
    measure: str,
    found: Quantity,
    texts: Sequence[Text],
    judges: Sequence[str],
    judge: str | None = None,
    other: str | None = None,
    verdict: str | None = None,
    gold: str | None = None,
) -> Row:
    """A row of the agreement table, less its panel; `texts` are all that it is about, judged or not."""
    statuses = {name: Counter(text.verdicts[name].status for text in texts) for name in judges}
    return {
        "measure": measure,
        "judge": judge,
        "other": other,
        "verdict": verdict,
        "gold": gold,
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "n": found.n,
        "n_skipped": len(texts) - found.n,
        "n_groups": found.n_prompts,
        "statuses": json.dumps(statuses, sort_keys=True),
        "remark": found.remark,
    }
