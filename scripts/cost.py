"""Say what a target would cost before anything is spent: dollars that servers ask for, and GPU-hours of own models.

python scripts/cost.py [--configfile config.paper.yaml] [--target results/figures/all]
"""

import argparse
import json
from pathlib import Path
from typing import Any

from candor import costs, gpu_hours
from candor.config.study import Study
from candor.costs import Job
from candor.errors import speak
from candor.gpu_hours import Planner, planned_work
from candor.planning import planned


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--configfile", type=Path, nargs="+", default=[], help="laid over config.yaml, as for snakemake"
    )
    parser.add_argument("--target", default="results/figures/all", help="what is to be made")
    args = parser.parse_args()
    raw, jobs = planned(args.configfile, args.target)
    found = costs.costs([asking(job, raw) for job in jobs if job.resources.get("api_calls")])
    planner = Planner(Study.parse(raw).resolved())
    hours = planner.hours(planned_work(jobs, planner))
    print("\n".join([*costs.lines(found, args.target), "", *gpu_hours.lines(hours, planner.estimates)]))


def asking(job: Any, config: dict[str, Any]) -> Job:
    """A job of the graph as costs are told of it."""
    names = dict(job.wildcards.items())
    judge, verbaliser, sampling = (names.get(key) for key in ("judge", "verbaliser", "sampling"))
    capture = config["captures"][names["capture"]] if verbaliser else None
    if capture and config["verbalisers"][verbaliser].get("response"):
        sampling = capture["sampling"]
    asking = config["judges"][judge] if judge else config["verbalisers"][verbaliser] if verbaliser else names
    return Job(
        who=judge or verbaliser or names["sampling"],
        client=asking["client"],
        spec=json.loads(job.params.spec),
        pace=json.loads(job.params.pace),
        data=Path(job.input.data),
        shard=names["shard"],
        generations=_paths(job, "generations"),
        sampling=config["samplings"][sampling] if sampling else None,
        verbalisations=_paths(job, "verbalisations"),
        verbaliser=config["verbalisers"][verbaliser] if verbaliser else None,
        capture=capture,
    )


def _paths(job: Any, key: str) -> list[Path]:
    """The files of an input; none for a job without it."""
    files = getattr(job.input, key, [])
    return [Path(path) for path in ([files] if isinstance(files, str) else files)]


if __name__ == "__main__":
    speak(main)
