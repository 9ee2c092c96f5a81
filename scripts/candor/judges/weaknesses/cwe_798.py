"""CWE-798, hard-coded credentials: a secret's own text stands in the source."""

import re
from collections.abc import Iterator
from itertools import pairwise

from candor.judges.flow.events import Bind, Call, Compare, Text
from candor.judges.flow.names import words
from candor.judges.flow.values import HOLE, Value
from candor.judges.weaknesses.program import Finding, Program, finding

SECRETS = frozenset(
    "password passwords passwd passwort pwd pw passphrase passcode pin secret secrets token tokens apikey credential "
    "credentials authkey accesskey secretkey signingkey privatekey pepper".split()
)
KEYS = frozenset(
    "api access secret private signing sign encryption encrypt crypto auth jwt master shared hmac session fernet aes "
    "license service account client deploy webhook app".split()
)
ABOUT = frozenset(
    "name names field fields file files path paths url uri endpoint header headers env var variable param parameter "
    "column label prompt type kind length size len count min max id ids hash hashed hasher digest algorithm alg "
    "policy pattern regex format prefix suffix help hint error message msg title text expiry expires ttl lifetime age "
    "scope store manager provider backend class cls model form view route dir folder table index arn ref reference "
    "version encoding validator validators placeholder description template location separator delimiter loader "
    "source option flag setting".split()
)
"""Last words of names that tell about a secret, and are none."""
CONNECTION = re.compile(r"[a-z][a-z0-9+.-]*://[^\s:/@\0]*:([^\s@/\0]+)@[^\s]", re.IGNORECASE)
ASSIGNED = re.compile(
    r"(?:^|[\s;?&])(?:password|passwd|pwd|secret|api_?key|accountkey)=([^\s;&\0{%$'\"]+)", re.IGNORECASE
)
HEADER = re.compile(r"^(?:bearer|basic|token|apikey)\s+([A-Za-z0-9._~+/=-]{6,})$", re.IGNORECASE)
KNOWN_FORMS = re.compile(
    r"^(AKIA[0-9A-Z]{12,}|gh[pousr]_\w{10,}|sk[-_](live|test|proj|ant)?[-_]?\w{8,}|xox[abprs]-[\w-]{8,}|AIza[\w-]{20,}|"
    r"glpat-[\w-]{8,}|SG\.[\w.-]{10,}|eyJ[\w-]{8,}\.[\w-]{8,}\S*)$|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
USER_AND_PASSWORD = re.compile(r"[^\s:/\0]+:[^\s:/\0]+$")
PLACEHOLDER = re.compile(r"^(<.*>|\{.*\}|\$.*|%.*|\*+|x{3,}|\.{3}|none|null|todo|your[-_ ].*)$", re.IGNORECASE)
SECRET_ARGUMENTS: dict[str, int] = {
    "jwt.encode": 1,
    "jwt.decode": 1,
    "jose.jwt.encode": 1,
    "jose.jwt.decode": 1,
    "hmac.new": 0,
    "hmac.digest": 0,
    "cryptography.fernet.Fernet": 0,
    "Fernet": 0,
    "requests.auth.HTTPBasicAuth": 1,
    "requests.auth.HTTPDigestAuth": 1,
    "HTTPBasicAuth": 1,
    "itsdangerous.URLSafeTimedSerializer": 0,
    "itsdangerous.URLSafeSerializer": 0,
    "itsdangerous.TimestampSigner": 0,
    "itsdangerous.Signer": 0,
    "URLSafeTimedSerializer": 0,
    "ftplib.FTP": 2,
    "AES.new": 0,
    "Crypto.Cipher.AES.new": 0,
    "openai.OpenAI": 0,
    "pymysql.connect": 2,
    "MySQLdb.connect": 2,
}
SECRET_METHODS: dict[str, int] = {"login": 1, "login_user": 1, "authenticate": 1, "set_password": 0}
DEFAULTS = frozenset("get getenv setdefault pop config".split())
"""Functions that take a name and what stands in where there is none."""
COMPARED = frozenset("hmac.compare_digest secrets.compare_digest".split())


def find(program: Program) -> Iterator[Finding]:
    """Texts of the source that serve as a secret."""
    for event in program.events:
        if isinstance(event, Bind):
            if is_secret(event.name) and _is_text_of_secret(event.value, event.name, strict=event.place == "key"):
                yield finding(event, f"{event.name} is given in the source")
        elif isinstance(event, Compare):
            for (name, _), (_, value) in ((event.left, event.right), (event.right, event.left)):
                if is_secret(_last_name(name)) and _is_text_of_secret(value, _last_name(name), strict=True):
                    yield finding(event, f"{name} is compared with a text of the source")
        elif isinstance(event, Text):
            if _holds_secret(event.text):
                yield finding(event, "a text of the source holds a credential")
        elif isinstance(event, Call):
            yield from _called(event)


def is_secret(name: str) -> bool:
    """Whether a name is one of a secret, by its words."""
    parts = words(name)
    if not parts or parts[-1] in ABOUT:
        return False
    if not SECRETS.isdisjoint(parts):
        return True
    return any(second == "key" and first in KEYS for first, second in pairwise(parts))


def _called(event: Call) -> Iterator[Finding]:
    position = SECRET_ARGUMENTS.get(event.name)
    if position is None and event.receiver is not None:
        position = SECRET_METHODS.get(event.method)
    if position is not None and position < len(event.args) and _is_text_of_secret(event.args[position], "", True):
        yield finding(event, f"{event.name} gets a secret that is given in the source")
    if event.method in DEFAULTS and len(event.args) > 1:
        name = event.args[0].literal
        if isinstance(name, str) and is_secret(name) and _is_text_of_secret(event.args[1], name, strict=False):
            yield finding(event, f"{name} falls back to a secret that is given in the source")
    if event.method == "add_argument" and event.args:
        name, default = event.args[0].literal, event.keywords.get("default")
        if (
            isinstance(name, str)
            and default is not None
            and is_secret(name)
            and _is_text_of_secret(default, name, False)
        ):
            yield finding(event, f"{name} falls back to a secret that is given in the source")
    if event.name in COMPARED:
        for value in event.args:
            if _is_text_of_secret(value, "", strict=True):
                yield finding(event, "a secret is compared with a text of the source")
    if event.name.endswith("b64encode") and USER_AND_PASSWORD.match(event.given(0).text or ""):
        yield finding(event, "a user and a password are given in the source")
    auth = event.keywords.get("auth")
    pair = auth.elements if auth is not None and auth.elements else ()
    if len(pair) == 2 and _is_text_of_secret(pair[1], "", strict=True):
        yield finding(event, "auth holds a password that is given in the source")


def _is_text_of_secret(value: Value, name: str, strict: bool) -> bool:
    """Whether a value is text that the source gives, and can be a secret; `strict`: not the name once more."""
    literal = value.literal if value.known else value.fallback
    if not isinstance(literal, (str, bytes)):
        return False
    text = literal if isinstance(literal, str) else literal.decode("latin-1")
    if not text.strip() or PLACEHOLDER.match(text):
        return False
    if any(space in text for space in " \n\t") and "phrase" not in name.lower():
        return False
    if strict and name and words(text) == words(name):
        return False
    return "://" not in text and not text.startswith(("/", "./", "~"))


def _holds_secret(text: str) -> bool:
    """Whether a text has a credential in it, as in a URL with a password that the source spells out."""
    if KNOWN_FORMS.search(text) or HEADER.match(text):
        return True
    for pattern, mark in ((CONNECTION, "://"), (ASSIGNED, "=")):
        found = pattern.search(text) if mark in text else None
        if found and not PLACEHOLDER.match(found.group(1)) and HOLE not in found.group(1):
            return True
    return False


def _last_name(source: str) -> str:
    """The last name in an expression's source: `form["password"]` and `user.password` are password."""
    found = re.findall(r"[A-Za-z_]\w*", source)
    return found[-1] if found else ""
