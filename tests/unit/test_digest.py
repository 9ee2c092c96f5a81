"""Which files a script's digest covers, and which edits it sees."""

import ast
import json
from pathlib import Path

import pytest

from candor.digest import Code

FILES = {
    "x.py": "",
    "candor/__init__.py": "",
    "candor/io.py": "X = 1",
    "candor/a/__init__.py": "",
    "candor/a/b.py": "X = 1",
    "candor/a/c.py": "from .b import X",
    "candor/a/d.py": "from . import b",
    "candor/a/e.py": "from ..io import X",
}

IMPORTS = {
    "from candor import io": {"candor/__init__.py", "candor/io.py"},
    "from candor.io import X": {"candor/__init__.py", "candor/io.py"},
    "import candor.io": {"candor/__init__.py", "candor/io.py"},
    "import candor.a.b as b": {"candor/__init__.py", "candor/a/__init__.py", "candor/a/b.py"},
    "from candor.a import b": {"candor/__init__.py", "candor/a/__init__.py", "candor/a/b.py"},
    "from candor.a.b import *": {"candor/__init__.py", "candor/a/__init__.py", "candor/a/b.py"},
    "from candor.a import c": {"candor/__init__.py", "candor/a/__init__.py", "candor/a/c.py", "candor/a/b.py"},
    "from candor.a import d": {"candor/__init__.py", "candor/a/__init__.py", "candor/a/d.py", "candor/a/b.py"},
    "from candor.a import e": {"candor/__init__.py", "candor/a/__init__.py", "candor/a/e.py", "candor/io.py"},
    "def f():\n    from candor import io": {"candor/__init__.py", "candor/io.py"},
    "try:\n    import candor.io\nexcept ImportError:\n    pass": {"candor/__init__.py", "candor/io.py"},
    "import json, os.path": set(),
}

SAME = [
    ("x = 1", "x = 1  # one"),
    ("x = 1", "\n\nx = (1)"),
    ("x = 'a'", 'x = "a"'),
    ("x = 'a' 'b'", "x = 'ab'"),
    ("f(1, 2)", "f(\n    1,\n    2,\n)"),
    ("def f():\n    return 1", 'def f():\n    """One."""\n    return 1'),
    ('class A:\n    """Says A."""\n    x = 1', "class A:\n    x = 1"),
    ('def f():\n    """Nothing."""', 'def f():\n    """Still nothing."""'),
    ("x = 1000", "x = 1_000"),
    ("x: 'int' = 1", 'x: "int" = 1'),
]

DIFFERENT = [
    ("x = 1", "x = 2"),
    ("x = 1", "x = 1.0"),
    ("x = 1", "x = True"),
    ("x = None", "x = ..."),
    ("f(None)", "f()"),
    ("x = 'a'", "x = b'a'"),
    ("def f(a): pass", "def f(a=None): pass"),
    ("def f(): pass", "async def f(): pass"),
    ("x: int = 1", "x: float = 1"),
    ("a + b", "a - b"),
    ("f'{x}'", "f'{x!r}'"),
    ("return_ = [1, 2]", "return_ = (1, 2)"),
    ("x = 0.1", "x = 0.10000000000000002"),
    ("def f(*, a): pass", "def f(a): pass"),
    ("x[1:]", "x[:1]"),
    ("def f():\n    return 1", "def f():\n    'a'\n    'b'\n    return 1"),
]


def digest(tmp_path: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return Code(tmp_path).digest("x.py")


@pytest.mark.parametrize(("statement", "covered"), IMPORTS.items())
def test_covers_exactly_what_an_import_runs(tmp_path: Path, statement: str, covered: set[str]) -> None:
    files = FILES | {"x.py": statement}
    before = digest(tmp_path, files)
    changed = {
        name for name in FILES if name != "x.py" and digest(tmp_path, files | {name: files[name] + "\nY = 2"}) != before
    }
    # each changed file is restored by the next call, so only the last one must be written back
    assert changed == covered


@pytest.mark.parametrize(("old", "new"), SAME)
def test_does_not_see_layout_comments_and_docstrings(tmp_path: Path, old: str, new: str) -> None:
    assert digest(tmp_path, {"x.py": old}) == digest(tmp_path, {"x.py": new})


@pytest.mark.parametrize(("old", "new"), DIFFERENT)
def test_sees_a_change_of_meaning(tmp_path: Path, old: str, new: str) -> None:
    assert digest(tmp_path, {"x.py": old}) != digest(tmp_path, {"x.py": new})


class TestWhatIsKept:
    """Files that were parsed once are not parsed again, and an edit is seen all the same."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        for name, text in (FILES | {"x.py": "from candor.a import c"}).items():
            (tmp_path / "code" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "code" / name).write_text(text)
        return tmp_path / "code"

    @pytest.fixture
    def parsed(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The files that are parsed from here on."""
        names: list[str] = []
        parse = ast.parse

        def told(source: bytes, filename: str) -> ast.Module:
            names.append(filename)
            return parse(source, filename=filename)

        monkeypatch.setattr("candor.digest.ast.parse", told)
        return names

    def test_each_content_is_parsed_once(self, root: Path, tmp_path: Path, parsed: list[str]) -> None:
        known = tmp_path / "kept/parsed.json"
        fresh = Code(root).digest("x.py")
        assert Code(root, known).digest("x.py") == fresh
        parsed.clear()
        assert Code(root, known).digest("x.py") == fresh and parsed == []
        (root / "candor/a/b.py").write_text("X = 2")
        edited = Code(root, known).digest("x.py")
        assert edited == Code(root).digest("x.py") != fresh
        assert parsed[:1] == ["candor/a/b.py"] and len(json.loads(known.read_text())) == 5

    def test_a_module_that_comes_later_is_found(self, root: Path, tmp_path: Path) -> None:
        """What a name stands for depends on which files there are."""
        (root / "x.py").write_text("from candor import late")
        known = tmp_path / "parsed.json"
        before = Code(root, known).digest("x.py")
        (root / "candor/late.py").write_text("X = 1")
        assert Code(root, known).digest("x.py") == Code(root).digest("x.py") != before

    @pytest.mark.parametrize("broken", ["", "{", "[]", '{"a": 1}', '{"a": ["b", 1]}', "\x00"])
    def test_a_broken_file_is_as_none(self, root: Path, tmp_path: Path, broken: str) -> None:
        known = tmp_path / "parsed.json"
        known.write_text(broken)
        assert Code(root, known).digest("x.py") == Code(root).digest("x.py")
        assert json.loads(known.read_text())

    def test_what_another_version_found_is_not_taken(
        self, root: Path, tmp_path: Path, parsed: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        known = tmp_path / "parsed.json"
        Code(root, known).digest("x.py")
        parsed.clear()
        monkeypatch.setattr("candor.digest.METHOD", "another")
        Code(root, known).digest("x.py")
        assert len(parsed) == 5


def test_sees_a_module_that_is_named(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    code = Code(tmp_path)
    assert len({code.digest("x.py"), code.digest("x.py", "candor.a.b"), code.digest("x.py", "candor.a.d")}) == 3
    assert code.digest("x.py", "candor.a.b", "candor.io") == code.digest("x.py", "candor.io", "candor.a.b")


def test_sees_the_name_of_a_file(tmp_path: Path) -> None:
    before = digest(tmp_path / "one", {"x.py": "import a", "a.py": "X = 1", "b.py": ""})
    assert digest(tmp_path / "two", {"x.py": "import a", "a.py": "", "b.py": "X = 1"}) != before


@pytest.mark.parametrize(("script", "module"), [("y.py", "candor.io"), ("x.py", "candor.absent")])
def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, script: str, module: str) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(FileNotFoundError):
        Code(tmp_path).digest(script, module)


def test_modules_that_import_each_other_have_a_digest(tmp_path: Path) -> None:
    assert digest(tmp_path, {"x.py": "import a", "a.py": "import b", "b.py": "import a"})


def test_does_not_see_files_that_editors_leave(tmp_path: Path) -> None:
    (tmp_path / ".#x.py").write_text("half a li")
    assert digest(tmp_path, {"x.py": "X = 1"}) == digest(tmp_path, {"x.py": "X = 1"})
    assert set(Code(tmp_path).files) == {"x.py"}


def test_a_snapshot_sees_every_byte_and_is_written_read_only(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/x.py").write_text("X = 1")
    one = Code(tmp_path / "code")
    (tmp_path / "code/x.py").write_text("X = 1  # one")
    other = Code(tmp_path / "code")
    assert one.digest("x.py") == other.digest("x.py")
    assert one.snapshot_digest() != other.snapshot_digest()
    assert one.snapshot_digest("a") != one.snapshot_digest("b")
    one.write(tmp_path / "frozen")
    assert (tmp_path / "frozen/x.py").read_text() == "X = 1"
    assert not (tmp_path / "frozen/x.py").stat().st_mode & 0o222
