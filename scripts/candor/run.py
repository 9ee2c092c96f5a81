"""One run's config and code, frozen: jobs that start later see what the run started with."""

import fcntl
import json
import os
import shutil
from collections.abc import MutableMapping
from functools import cache
from pathlib import Path
from typing import Any

from candor.digest import Code
from candor.errors import CandorError

VARIABLE = "CANDOR_RUN"
RUNS = Path(".snakemake/runs")
PARSED = Path(".snakemake/parsed.json")
"""What is known of the code's files, so that no start parses them all again."""


class RunError(CandorError):
    """A run cannot start or go on; the message says why and what to do."""


class Script(str):
    """A script's path. Its repr, which is what Snakemake records, is the digest of its code."""

    code: str

    def __new__(cls, path: Path, code: str) -> "Script":
        script = super().__new__(cls, path)
        script.code = code
        return script

    def __repr__(self) -> str:
        return f"{Path(self).name} with code {self.code}"


class Run:
    """The validated config and the code of one run, in a folder named by their content."""

    def __init__(self, config: dict[str, Any], code: Code, folder: Path) -> None:
        self.config = config
        self._code = code
        self._folder = folder

    @classmethod
    def begin(cls, config: dict[str, Any], scripts: Path) -> "Run":
        """The run that a user starts: the config as given, the code as it is on disk now. Claims nothing."""
        code = Code(scripts, PARSED)
        return cls(config, code, RUNS / code.snapshot_digest(json.dumps(config)))

    @classmethod
    def thaw(cls, environment: MutableMapping[str, str]) -> "Run":
        """The run that started this process, which is one of its jobs."""
        if VARIABLE not in environment:
            raise RunError(
                f"A job found no {VARIABLE} in its environment: let the executor pass the environment on "
                "(sbatch --export=ALL, qsub -V)."
            )
        folder = Path(environment[VARIABLE])
        try:
            config = json.loads((folder / "config.json").read_text())
        except FileNotFoundError:
            raise RunError(f"A job found no run in {folder}, which {VARIABLE} names; start snakemake again.") from None
        return cls(config, Code(folder / "scripts", PARSED), folder)

    def freeze(self, environment: MutableMapping[str, str]) -> None:
        """Claim this checkout, write the config and the code, and name their folder to the jobs.

        The claim ends with this process, however it dies; Snakemake's own lock outlives a kill or a hang-up.
        """
        RUNS.mkdir(parents=True, exist_ok=True)
        self._claim = (RUNS / "claim").open("w")
        try:
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                "Another snakemake is at work in this folder. Wait for it, stop it, or start this run in another "
                "checkout (git worktree add)."
            ) from None
        self.write(environment)

    def write(self, environment: MutableMapping[str, str]) -> Path:
        """Write the config and the code to a folder, once, and name it to the jobs; the folder."""
        if not self._folder.exists():
            draft = self._folder.with_name(f"{self._folder.name}.{os.getpid()}")
            self._code.write(draft / "scripts")
            (draft / "config.json").write_text(json.dumps(self.config, indent=1))
            try:
                draft.rename(self._folder)
            except OSError:  # another process was faster; its folder has the same content
                shutil.rmtree(draft)
        environment[VARIABLE] = str(self._folder)
        return self._folder

    @cache
    def spec(self, *paths: str) -> str:
        """Config subtrees as one canonical JSON string, keyed by their section.

        `section/id` is a whole entry, `section/id[a,b]` those keys of it; two entries of one section stand under their
        ids.
        """
        found: dict[str, dict[str, Any]] = {}
        for path in paths:
            section, id, keys = _parsed(path)
            entry = self.config[section][id]
            found.setdefault(section, {})[id] = entry if keys is None else {key: entry[key] for key in keys}
        alone = {
            section: next(iter(entries.values())) if len(entries) == 1 else entries
            for section, entries in found.items()
        }
        return json.dumps(alone, sort_keys=True)

    @cache
    def script(self, name: str, *modules: str) -> Script:
        """The frozen script, with the digest of its code and of modules that it imports by name."""
        return Script(self._folder / "scripts" / name, self._code.digest(name, *modules))


def _parsed(path: str) -> tuple[str, str, list[str] | None]:
    section, _, rest = path.partition("/")
    id, bracket, keys = rest.partition("[")
    return section, id, keys.removesuffix("]").split(",") if bracket else None
