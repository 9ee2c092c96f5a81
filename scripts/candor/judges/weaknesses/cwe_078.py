"""CWE-78, OS command injection: untrusted input in what a shell reads, or as the program to run."""

from collections.abc import Iterator

from candor.judges.flow.events import Call
from candor.judges.flow.names import words
from candor.judges.flow.values import HOLE, Value
from candor.judges.weaknesses.program import Finding, Program, finding

SHELLS = frozenset(
    "os.system os.popen os.popen2 os.popen3 os.popen4 subprocess.getoutput subprocess.getstatusoutput popen2.popen2 "
    "commands.getoutput commands.getstatusoutput asyncio.create_subprocess_shell pexpect.run pexpect.spawn "
    "fabric.api.run fabric.api.local fabric.api.sudo invoke.run invoke.task.run pty.spawn".split()
)
RUNNERS = frozenset(
    "subprocess.run subprocess.call subprocess.check_call subprocess.check_output subprocess.Popen "
    "asyncio.create_subprocess_exec".split()
)
PROGRAMS = frozenset(
    "os.execl os.execle os.execlp os.execv os.execve os.execvp os.execvpe os.posix_spawn os.startfile".split()
)
SPAWNERS = frozenset("os.spawnl os.spawnle os.spawnlp os.spawnv os.spawnve os.spawnvp".split())
REMOTE = frozenset("exec_command sudo_command".split())
RUNNING = frozenset("run exec execute call send popen system".split())
COMMANDS = frozenset("ssh shell cmd command commands cli remote bash sh".split())
"""A function whose name has a word of both, such as run_command, reads a command line."""
INTERPRETERS = frozenset("sh bash zsh dash ksh cmd cmd.exe powershell pwsh python python3 perl ruby node".split())
TAKES_CODE = frozenset(["-c", "-lc", "-ic", "/c", "/C", "-Command", "-e"])


def find(program: Program) -> Iterator[Finding]:
    """Commands that untrusted input can change."""
    for event in program.events:
        if not isinstance(event, Call):
            continue
        command = event.given(1 if event.name in SPAWNERS else 0, "args", "cmd", "command")
        if event.name in SHELLS or event.method in REMOTE:
            if command.tainted("078"):
                yield finding(event, f"a shell reads a command with {command.origin}")
        elif _reads_command_line(event) and command.tainted("078") and command.kind == "text":
            yield finding(event, f"{event.method} reads a command with {command.origin}")
        elif event.name in RUNNERS:
            yield from _run(event, command)
        elif (event.name in PROGRAMS or event.name in SPAWNERS) and command.tainted("078"):
            yield finding(event, f"the program that is run is {command.origin}")


def _run(event: Call, command: Value) -> Iterator[Finding]:
    shell = event.keywords.get("shell")
    if shell is not None and shell.known and shell.literal:
        if command.tainted("078"):
            yield finding(event, f"a shell reads a command with {command.origin}")
        return
    listed = event.args if event.name == "asyncio.create_subprocess_exec" else command.elements
    if listed:
        if listed[0].tainted("078"):
            yield finding(event, f"the program that is run is {listed[0].origin}")
        for interpreter, option, code in zip(listed, listed[1:], listed[2:], strict=False):
            runs_code = option.literal in TAKES_CODE and _program(interpreter) in INTERPRETERS
            if runs_code and code.tainted("078"):
                yield finding(event, f"an interpreter reads a command with {code.origin}")
    elif command.tainted("078") and not command.parameter and (command.text or HOLE).startswith(HOLE):
        yield finding(event, f"the program that is run is {command.origin}")


def _reads_command_line(event: Call) -> bool:
    named = set(words(event.method))
    return bool(named & RUNNING and named & COMMANDS)


def _program(word: Value) -> str:
    return str(word.literal).rsplit("/", 1)[-1]
