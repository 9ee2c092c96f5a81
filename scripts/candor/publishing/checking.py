"""Whether results are built, and are what the config and code would make now, before anything leaves this machine."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from candor.audit import Expected, Finding, audit
from candor.config.study import Study
from candor.publishing.chosen import Chosen


def problems(
    results: Sequence[Chosen],
    study: Study,
    jobs: Sequence[Any],
    plan: Callable[[str], Sequence[Any]],
    expected: Callable[[list[Any]], Iterator[Expected]],
) -> dict[str, str]:
    """Name of each result that may not go -> why, and what to do; it is judged with all that it was made from.

    `jobs` are those of the graph of all figures; `plan` gives the jobs of other results, which lie outside of it, by
    file. `expected` says what the files of jobs should be.
    """
    makers = {file: job for job in jobs for file in job.output}
    for file in sorted({path.as_posix() for result in results for path in result.needed}, reverse=True):
        if file not in makers:
            makers = {file: job for job in plan(file) for file in job.output} | makers
    made_from = {result.name: _made_from(result.needed, makers) for result in results}
    needed = {id(makers[file]): makers[file] for files in made_from.values() for file in files if file in makers}
    auto = [model.name for model in study.models.values() if "auto" in (model.device, model.dtype)]
    findings: dict[str, list[Finding]] = {}
    for finding in audit(expected(list(needed.values())), auto):
        if finding.verdict != "note":
            findings.setdefault(finding.path.as_posix(), []).append(finding)
    found = {
        result.name: _why(result, [each for file in made_from[result.name] for each in findings.get(file, ())])
        for result in results
    }
    return {name: why for name, why in found.items() if why}


def _made_from(paths: Iterable[Path], makers: Mapping[str, Any]) -> list[str]:
    """Files, and all that they were made from."""
    todo, seen = [path.as_posix() for path in paths], set[str]()
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            todo += map(str, makers[file].input) if file in makers else []
    return sorted(seen)


def _why(result: Chosen, wrong: Sequence[Finding]) -> str | None:
    """What is wrong with a result, if anything is."""
    again = f"make it with `snakemake {' '.join(path.as_posix() for path in result.needed)}`"
    for path in result.needed:
        if not path.exists():
            return f"{path} is not built; {again}"
    if not wrong:
        return None
    first = min(wrong, key=lambda finding: (finding.path not in result.needed, finding.path))
    more = f", and {len(wrong) - 1} more findings" if len(wrong) > 1 else ""
    return f"{first.path} is {first.verdict}: {first.reason}{more}; {again}"
