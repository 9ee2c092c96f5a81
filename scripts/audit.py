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


def planned(configfiles: list[Path], target: str) -> tuple[dict[str, Any], list[Any]]:
    """The config as the files have it, and every job of the graph, whether it would run or not."""
    from snakemake.api import SnakemakeApi
    from snakemake.common.configfile import load_configfile
    from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings
    from snakemake.utils import update_config

    raw: dict[str, Any] = {}
    for path in [Path("config.yaml"), *configfiles]:
        update_config(raw, load_configfile(path))
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(configfiles=configfiles),
            snakefile=Path("Snakefile"),
        )
        workflow.dag(DAGSettings(targets={target}, forceall=True))
        # as the API's own summary() does, which can only print
        graph = workflow._workflow_store
        graph._prepare_dag(forceall=True, ignore_incomplete=True, lock_warn_only=True, nolock=True)
        graph._build_dag()
        return raw, list(graph.dag.jobs)


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
