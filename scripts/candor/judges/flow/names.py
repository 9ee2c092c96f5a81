"""What names in a program stand for."""

import ast
import re

USUAL = {
    "Path": "pathlib.Path",
    "PurePath": "pathlib.PurePath",
    "PosixPath": "pathlib.PosixPath",
    "request": "flask.request",
    "abort": "flask.abort",
    "render_template_string": "flask.render_template_string",
    "send_file": "flask.send_file",
    "Markup": "markupsafe.Markup",
    "escape": "markupsafe.escape",
    "mark_safe": "django.utils.safestring.mark_safe",
    "format_html": "django.utils.html.format_html",
    "secure_filename": "werkzeug.utils.secure_filename",
    "safe_join": "werkzeug.utils.safe_join",
    "Decimal": "decimal.Decimal",
    "urlparse": "urllib.parse.urlparse",
    "urlsplit": "urllib.parse.urlsplit",
    "UUID": "uuid.UUID",
    "text": "sqlalchemy.text",
    "literal_eval": "ast.literal_eval",
}
"""What a name mostly is where a program neither imports nor defines it, as in a snippet."""


def words(identifier: str) -> list[str]:
    """The words of an identifier, in lower case: `apiKey2` and `API_KEY_2` are api, key, 2."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", identifier)]


class Names:
    """Imports of a program, and what it defines."""

    def __init__(self, tree: ast.Module) -> None:
        self._imported: dict[str, str] = {}
        defined = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    name = alias.asname or alias.name.split(".")[0]
                    self._imported[name] = alias.name if alias.asname else name
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self._imported[alias.asname or alias.name] = ".".join(filter(None, [node.module, alias.name]))
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                defined.add(node.name)
        self._usual = {name: full for name, full in USUAL.items() if name not in defined}

    def full(self, node: ast.expr) -> str:
        """The full name of an expression: `sp.run` is `subprocess.run` after `import subprocess as sp`."""
        if isinstance(node, ast.Name):
            return self._imported.get(node.id) or self._usual.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            return f"{self.full(node.value)}.{node.attr}"
        if isinstance(node, ast.Call):
            return f"{self.full(node.func)}()"
        return "?"

    def imported(self, node: ast.expr) -> bool:
        """Whether an expression is a module, or something out of one."""
        while isinstance(node, ast.Attribute):
            node = node.value
        return isinstance(node, ast.Name) and (node.id in self._imported or node.id in MODULES)


MODULES = frozenset(
    "os sys re io subprocess shlex shutil pickle marshal shelve yaml json html hmac hashlib sqlite3 tempfile stat time "
    "secrets random zipfile tarfile codecs base64 flask requests jinja2 markupsafe pathlib uuid ipaddress ast math "
    "jsonpickle dill joblib cgi operator urllib itertools".split()
)
"""Modules that snippets often use without importing them."""
