"""Rows of the rate table."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from candor.comparisons.inputs import ComparisonError, Verdict
from candor.metrics.rates import Quantity


def rate_row(
    comparison: str,
    measure: str,
    found: Quantity,
    statuses: Iterable[str],
    n_skipped: int = 0,
    arm: str | None = None,
    judge: str | None = None,
    verdict: str | None = None,
) -> dict[str, Any]:
    """A row of the rate table; `statuses` are those of all responses or texts that it is about."""
    return {
        "comparison": comparison,
        "measure": measure,
        "arm": arm,
        "judge": judge,
        "verdict": verdict,
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "n": found.n,
        "n_skipped": n_skipped,
        "n_prompts": found.n_prompts,
        "statuses": json.dumps(Counter(statuses), sort_keys=True),
        "remark": found.remark,
    }


def called(judge: str, verdict: Verdict, hit: str, miss: str) -> bool | None:
    """Whether a judge calls a text `hit`, None where it could not judge; ComparisonError when it says a third thing."""
    if verdict.verdict is None:
        return None
    if verdict.verdict not in (hit, miss):
        raise ComparisonError(
            f"judge {judge} says {verdict.verdict!r}, where {hit} or {miss} is expected; name another judge."
        )
    return verdict.verdict == hit
