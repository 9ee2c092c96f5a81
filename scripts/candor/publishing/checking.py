"""Whether results are built, and are what the config and code would make now, before anything leaves this machine."""

import shlex
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
    configfiles: Sequence[Path] = (),
) -> dict[str, str]:
    """Name of each result that may not go -> why, and what to do; it is judged with all that it was made from.

    `jobs` are those of the graph of all figures; `plan` gives the jobs of other results, which lie outside of it, by
    file. `expected` says what the files of jobs should be; `configfiles` are laid over config.yaml.
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
        result.name: _why(
            result,
            [each for file in made_from[result.name] for each in findings.get(file, ())],
            [file for file in made_from[result.name] if not Path(file).exists()],
            ["--configfile", *map(str, configfiles)] if configfiles else [],
        )
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


def _why(result: Chosen, wrong: Sequence[Finding], absent: Sequence[str], options: Sequence[str]) -> str | None:
    """What is wrong with a result, if anything is; `absent`: what is not there of all that it rests on."""
    needed = [path.as_posix() for path in result.needed]
    for file in needed:
        if file in absent:
            return f"{file} is not built; make it with {_command(needed, options)}"
    if not wrong:
        return None
    first = min(wrong, key=lambda finding: (finding.path not in result.needed, finding.path))
    gone = [file for file in absent if any(_is_of(finding, file) for finding in wrong)]
    if all(any(_is_of(finding, file) for file in gone) for finding in wrong):
        # named themselves: what was made from them is there, so that snakemake would not make them for it
        more = f", and {len(gone) - 1} more" if len(gone) > 1 else ""
        return (
            f"{gone[0]}{more}, which {result.name} rests on, is missing; copy it here if it lies in a bucket "
            f"(docs/storage.md), or make it again with {_command(gone, options)}"
        )
    more = f", and {len(wrong) - 1} more findings" if len(wrong) > 1 else ""
    return f"{first.path} is {first.verdict}: {first.reason}{more}; make it with {_command(needed, options)}"


def _is_of(finding: Finding, absent: str) -> bool:
    """Whether nothing is wrong but that a file is not there."""
    return finding.path.as_posix() == absent or absent in finding.reason


def _command(targets: Sequence[str], options: Sequence[str]) -> str:
    return f"`{shlex.join(['snakemake', *targets, *options])}`"
