"""Say which results are stale, altered or missing, and why; or what a figure rests on.

python scripts/audit.py [--configfile config.paper.yaml] [--target results/figures/all]
python scripts/audit.py --trace results/figures/roc.pdf
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from candor.audit import Expected, audit, trace
from candor.config.study import Study
from candor.errors import CandorError, speak
from candor.planning import planned


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--configfile", type=Path, nargs="+", default=[], help="laid over config.yaml, as for snakemake"
    )
    parser.add_argument("--target", default="results/figures/all", help="what the audited files lead to")
    parser.add_argument("--trace", type=Path, help="print the chain of this file instead")
    args = parser.parse_args()
    if args.trace:
        if not args.trace.exists():
            raise CandorError(f"{args.trace}: no such file; make it first, or check the name")
        print("\n".join(trace(args.trace)))
        return
    raw, jobs = planned(args.configfile, args.target)
    auto = [m["name"] for m in Study.parse(raw).model_dump()["models"].values() if "auto" in (m["device"], m["dtype"])]
    files = list(expected(jobs))
    findings = audit(files, auto)
    for finding in findings:
        print(f"{finding.verdict:10} {finding.path}: {finding.reason}")
    wrong = {finding.path for finding in findings if finding.verdict != "note"}
    print(f"{len(files)} files: {len(files) - len(wrong)} as they should be, {len(wrong)} not", file=sys.stderr)
    sys.exit(1 if wrong else 0)


def expected(jobs: list[Any]) -> Iterator[Expected]:
    """Every file of the graph that carries provenance, in a steady order."""
    for job in sorted(jobs, key=lambda job: str(next(iter(job.output), ""))):
        if hasattr(job.params, "spec"):
            for path in job.output:
                yield Expected(
                    Path(path), Path(job.params.script).name, job.params.script.code, json.loads(job.params.spec)
                )


if __name__ == "__main__":
    speak(main)
