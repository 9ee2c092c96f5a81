"""Say what a target would cost before anything is spent: dollars that servers ask for, and GPU-hours of own models.

python scripts/cost.py [--configfile config.paper.yaml] [--target results/figures/all]
"""

import argparse
import json
from pathlib import Path
from typing import Any

from candor import gpu_hours
from candor.config.study import Study
from candor.costs import Cost, Job, costs
from candor.errors import speak
from candor.gpu_hours import Planner, planned_work
from candor.planning import planned

HEADINGS = ("asked by", "client", "requests", "to ask", "tokens in", "tokens out", "US dollars")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--configfile", type=Path, nargs="+", default=[], help="laid over config.yaml, as for snakemake"
    )
    parser.add_argument("--target", default="results/figures/all", help="what is to be made")
    args = parser.parse_args()
    raw, jobs = planned(args.configfile, args.target)
    found = costs([asking(job, raw) for job in jobs if job.resources.get("api_calls")])
    planner = Planner(Study.parse(raw).model_dump(mode="json"))
    hours = planner.hours(planned_work(jobs, planner))
    print("\n".join([*lines(found, args.target), "", *gpu_hours.lines(hours, planner.estimates)]))


def asking(job: Any, config: dict[str, Any]) -> Job:
    """A job of the graph as costs are told of it."""
    names = dict(job.wildcards.items())
    judge, sampling = names.get("judge"), names.get("sampling")
    return Job(
        who=judge or names["sampling"],
        client=config["judges"][judge]["client"] if judge else names["client"],
        spec=json.loads(job.params.spec),
        pace=json.loads(job.params.pace),
        data=Path(job.input.data),
        shard=names["shard"],
        generations=[Path(path) for path in (_all(job.input.generations) if judge and sampling else [])],
        sampling=config["samplings"][sampling] if sampling else None,
    )


def lines(found: list[Cost], target: str) -> list[str]:
    """The costs as a table, and what its numbers rest on."""
    if not found:
        return [f"No job of {target} asks a server: it costs nothing."]
    rows: list[tuple[str, ...]] = [
        (
            cost.who,
            cost.client,
            f"{cost.requests:,}",
            f"{cost.missing:,}",
            f"{cost.tokens_in:,}",
            f"{cost.tokens_out:,}",
            f"{cost.usd:,.2f}",
        )
        for cost in found
    ]
    rows.append(("all", "", *(f"{sum(getattr(cost, key) for cost in found):,}" for key in COUNTS), _dollars(found)))
    widths = [max(len(row[i]) for row in [HEADINGS, *rows]) for i in range(len(HEADINGS))]
    table = ["  ".join(_placed(row, widths)).rstrip() for row in [HEADINGS, *rows]]
    notes = [
        "Requests: distinct ones; to ask: those whose replies are not in the cache. Tokens in: estimated, a quarter of "
        "the bytes; tokens out: the most that the replies can have. Dollars: both at the price of the config."
    ]
    if guessed := sum(cost.guessed for cost in found):
        notes.append(f"{guessed:,} of them are about texts that are not made yet, taken to be as long as they can be.")
    for cost in found:
        if cost.unknown:
            notes.append(f"{cost.who}: {cost.unknown} of its jobs read a dataset that is not made yet, not counted.")
    return [*table, "", *notes]


COUNTS = ("requests", "missing", "tokens_in", "tokens_out")


def _dollars(found: list[Cost]) -> str:
    return f"{sum(cost.usd for cost in found):,.2f}"


def _placed(row: tuple[str, ...], widths: list[int]) -> list[str]:
    """Names to the left, numbers to the right."""
    return [
        text.ljust(width) if i < 2 else text.rjust(width)
        for i, (text, width) in enumerate(zip(row, widths, strict=True))
    ]


def _all(files: Any) -> list[str]:
    return [files] if isinstance(files, str) else list(files)


if __name__ == "__main__":
    speak(main)
