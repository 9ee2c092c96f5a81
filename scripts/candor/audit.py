"""Whether results are what the current config and code would make, told from the provenance inside them.

No `.snakemake` folder, no times: results that were copied from another machine are judged by the same facts. Each
artefact names the config and the code that made it and the digest of every file it read, so a change of config or code
shows as stale, and a file that was changed after others had read it shows as altered.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from candor import provenance
from candor.errors import CandorError

FIGURE_FILES = (".pdf", ".png", ".csv")
BESIDE = {"adapter_config.json": "adapter_model.safetensors"}
"""A file that has no place for its provenance -> the file of the same job, beside it, that holds it."""


class Expected(NamedTuple):
    """What a file should be: the script, code digest and config that would make it now."""

    path: Path
    script: str
    code: str
    spec: Mapping[str, Any]


class Finding(NamedTuple):
    """One thing wrong with one file: `verdict` is missing, unreadable, stale or altered; `note` is nothing wrong."""

    path: Path
    verdict: str
    reason: str


def audit(expected: Iterable[Expected], auto_models: Iterable[str]) -> list[Finding]:
    """What is wrong with each expected file; nothing for a file that is as it should be.

    `auto_models` are the names of models whose device and dtype the config leaves to the machine: files made by another
    choice are right, and noted.
    """
    names = set(auto_models)
    digest = cache(provenance.sha256)
    return [finding for each in expected for finding in _findings(each, names, digest)]


def _findings(each: Expected, auto_models: set[str], digest: Any) -> Iterator[Finding]:
    if not each.path.exists():
        yield Finding(each.path, "missing", f"{each.script} has not made it")
        return
    try:
        made = _made(each.path)
        if each.path.suffix in FIGURE_FILES:
            recorded = json.loads(each.path.with_suffix(".json").read_text(encoding="utf-8"))["sha256"][each.path.name]
            if recorded != digest(each.path):
                yield Finding(each.path, "altered", "is not the file that its own job wrote")
    except (CandorError, OSError, KeyError, ValueError) as error:
        yield Finding(each.path, "unreadable", str(error))
        return
    if made["code"] != each.code:
        yield Finding(each.path, "stale", f"the code of {each.script} has changed ({made['code']} -> {each.code})")
    for key, old, new in differences(made["spec"], dict(each.spec)):
        model = made["spec"].get("models", {}).get("name")
        if key in ("models.device", "models.dtype") and model in auto_models:
            yield Finding(each.path, "note", f"made with {key} {old}; this machine would take {new}")
        else:
            yield Finding(each.path, "stale", f"{key} was {_short(old)}, is {_short(new)}")
    for name, recorded in made["inputs"].items():
        if not Path(name).exists():
            yield Finding(each.path, "stale", f"{name}, which it was made from, is missing")
        elif digest(Path(name)) != recorded:
            yield Finding(each.path, "altered", f"{name} is not the file that it was made from")


def _made(path: Path) -> dict[str, Any]:
    """The provenance of a file."""
    return provenance.read(path.with_name(BESIDE.get(path.name, path.name)))


def differences(old: Any, new: Any, at: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Key, old and new value of every leaf in which two JSON values differ; None for a key that is absent."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from differences(old.get(key), new.get(key), f"{at}.{key}" if at else key)
    elif old != new:
        yield at, old, new


def trace(path: Path, depth: int = 0, seen: set[Path] | None = None) -> Iterator[str]:
    """A file's chain, a line each: what made it, from how many examples, pinned by what, at what cost."""
    seen = set() if seen is None else seen
    indent = "  " * depth
    if path in seen:
        yield f"{indent}{path} (above)"
        return
    seen.add(path)
    if not path.exists():
        yield f"{indent}{path} MISSING"
        return
    try:
        made = _made(path)
    except CandorError:
        yield f"{indent}{path} sha256 {provenance.sha256(path)[:12]}"
        return
    told = [made["script"], f"code {made['code']}"]
    for key in ("n", "n_skipped", "repeats_dropped", "device", "dtype", "threads", "licence", "revision"):
        if made.get(key) is not None:
            told.append(f"{key} {made[key]}")
    told += [f"{name} sha256 {digest[:12]}" for name, digest in (made.get("files") or {}).items()]
    yield f"{indent}{path}: {', '.join(told)}{_cost(path)}"
    for name, recorded in made["inputs"].items():
        source = Path(name)
        if source.exists() and provenance.sha256(source) != recorded:
            yield f"{indent}  {name} ALTERED since"
        yield from trace(source, depth + 1, seen)


def _cost(path: Path) -> str:
    """Wall seconds and peak memory of the job that made a file, from its benchmark file where there is one."""
    parts = path.with_suffix("").parts[1:]
    tries = [Path("results/benchmarks", *parts)]
    if len(parts) == 4 and parts[0] == "scores" and parts[2] == "train":
        tries += [Path("results/benchmarks", stage, parts[1], parts[3]) for stage in ("probes", "baselines")]
    if parts[:1] == ("adapters",):  # one job makes all files of the folder
        tries.append(Path("results/benchmarks", *parts[:2]))
    for stem in tries:
        file = stem.parent / f"{stem.name}.tsv"
        if file.exists():
            header, values = (line.split("\t") for line in file.read_text().splitlines()[:2])
            row = dict(zip(header, values, strict=False))
            return f", {float(row['s']):.1f} s, {row['max_rss']} MB"
    return ""


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
