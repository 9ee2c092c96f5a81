"""CWE-22, path traversal: untrusted input chooses a file, and nothing keeps the path within the folder meant."""

import ast
from collections.abc import Iterator
from dataclasses import replace

from candor.judges.flow.events import Call, Return
from candor.judges.flow.predicates import approves
from candor.judges.flow.values import Value
from candor.judges.weaknesses.program import Finding, Program, finding

OPENERS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(
        "open io.open codecs.open os.open file gzip.open bz2.open lzma.open aiofiles.open os.remove os.unlink os.rmdir "
        "os.removedirs os.listdir os.scandir os.mkdir os.makedirs os.walk os.truncate shutil.rmtree linecache.getlines "
        "flask.send_file send_file starlette.responses.FileResponse fastapi.responses.FileResponse FileResponse "
        "django.http.FileResponse aiohttp.web.FileResponse web.FileResponse numpy.load numpy.loadtxt np.load "
        "pandas.read_csv pd.read_csv pandas.read_json runpy.run_path PIL.Image.open Image.open".split(),
        (0,),
    ),
    **dict.fromkeys(
        "os.rename os.replace os.link os.symlink shutil.copy shutil.copy2 shutil.copyfile shutil.copytree "
        "shutil.move".split(),
        (0, 1),
    ),
}
PATH_METHODS = frozenset(
    "open read_text read_bytes write_text write_bytes unlink rmdir mkdir touch rename iterdir symlink_to".split()
)
SAVERS = frozenset("save store upload_file download_file fget_object".split())
LOOKS = frozenset(
    "str repr len print isinstance bool fspath exists is_file is_dir resolve absolute joinpath is_relative_to "
    "relative_to commonpath append add format debug info warning error exception abort secure_filename startswith "
    "endswith ValueError PermissionError FileNotFoundError Exception HTTPException".split()
)
UNPACKERS = frozenset(["extractall"])
FILTERS = frozenset(["data", "tar"])


def find(program: Program) -> Iterator[Finding]:
    """Files that untrusted input names, and archives that are unpacked unseen."""
    own = {node.name for node in ast.walk(program.tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    for event in program.events:
        if isinstance(event, Return) and event.value.kind == "path" and _leads_astray(event.value):
            yield finding(event, f"the path given back holds {event.value.origin}, which may lead out of its folder")
        if not isinstance(event, Call):
            continue
        for path in [*_paths(event), *_handed_on(event, own)]:
            if _leads_astray(path):
                yield finding(event, f"the path holds {path.origin}, which may lead out of its folder")
        if event.method in UNPACKERS or event.name == "shutil.unpack_archive":
            yield from _unpacked(event)
        elif event.method == "extract" and event.receiver is not None and _is_archive(event.receiver):
            member = event.given(0, "member")
            if _leads_astray(member) and not _filtered(event):
                yield finding(event, f"a member is unpacked under its own name, {member.origin}")


def _paths(event: Call) -> Iterator[Value]:
    for position in OPENERS.get(event.name, ()):
        names = ("file", "path", "name", "src", "path_or_file", "filename") if position == 0 else ("dst",)
        yield event.given(position, *names)
    receiver = event.receiver
    if receiver is None:
        return
    if receiver.kind == "path" and event.method in PATH_METHODS:
        yield receiver
    if event.method in SAVERS:
        yield from (argument for argument in event.args if _is_joined(argument))


def _handed_on(event: Call, own: set[str]) -> Iterator[Value]:
    """Paths given to functions that are not known, but for those that look at paths alone."""
    looks = event.name.startswith(("os.path.", "pathlib.", "logging.")) or event.method in LOOKS | own
    if event.name in OPENERS or looks or approves(event.name):
        return
    yield from (value for value in (*event.args, *event.keywords.values()) if value.kind == "path")


def _leads_astray(path: Value) -> bool:
    """A function's own parameter, as it came in, is a file of the caller's choice rather than one within a folder."""
    if path.origin is None or path.parameter or "022" in path.safe:
        return False
    return not {"022:up", "022:absolute"} <= path.safe


def _is_joined(value: Value) -> bool:
    """Whether a value is a path for sure, not some other thing to save."""
    return value.kind == "path" or (value.kind == "text" and "/" in (value.text or ""))


def _is_archive(value: Value) -> bool:
    call = value.call
    return call is not None and call.name.startswith(("zipfile.", "tarfile.", "rarfile.", "py7zr.", "ZipFile"))


def _unpacked(event: Call) -> Iterator[Finding]:
    """The documentation of zipfile and tarfile: never extract archives without inspecting them before."""
    archive = event.receiver if event.receiver is not None else event.given(0)
    members = event.argument(1, "members") if event.receiver is not None else None
    if _filtered(event) or (members is not None and not _leads_astray(members)):
        return
    if _leads_astray(replace(archive, parameter=False)):
        yield finding(event, f"an archive is unpacked without a look at where its members go: {archive.origin}")


def _filtered(event: Call) -> bool:
    chosen = event.keywords.get("filter")
    if chosen is None:
        return False
    return chosen.literal in FILTERS or not chosen.known
