"""Many dry runs at the price of one import of snakemake: each is a fork of a process that has imported it."""

import json
import subprocess
import sys
from pathlib import Path

from tests.tiny.study import Project, planned

WAITING = """
import json, os, sys
import snakemake.cli
snakemake.cli.get_argument_parser()
for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if child == 0:
        output = os.open(asked["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(asked["folder"])
        sys.path[0] = asked["folder"]
        sys.argv = ["snakemake", "--dry-run"]
        code = 1
        try:
            snakemake.cli.main()
        except SystemExit as end:
            code = end.code or 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Warm:
    """The process that waits, with the environment of a project; nothing of the project is imported in it."""

    def __init__(self, project: Project, output: Path) -> None:
        self.output = output
        self.process = subprocess.Popen(
            [sys.executable, "-c", WAITING],
            env=project.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def jobs(self, project: Project) -> set[str]:
        """The jobs that a run of all would start, as `Project.jobs` has them."""
        assert self.process.stdin is not None and self.process.stdout is not None
        asked = {"folder": str(project.folder), "output": str(self.output)}
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        code, said = self.process.stdout.readline().strip(), self.output.read_text(encoding="utf-8")
        assert code == "0", said
        return planned(said)

    def end(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
