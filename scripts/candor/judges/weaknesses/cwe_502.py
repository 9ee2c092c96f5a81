"""CWE-502, deserialisation of untrusted data: a format that can run code is read from data of unknown origin."""

from collections.abc import Iterator

from candor.judges.flow.events import Call
from candor.judges.flow.values import Value
from candor.judges.weaknesses.program import Finding, Program, finding

LOADERS = frozenset(
    "pickle.load pickle.loads cPickle.load cPickle.loads _pickle.loads dill.load dill.loads cloudpickle.load "
    "cloudpickle.loads joblib.load marshal.load marshal.loads shelve.open shelve.DbfilenameShelf jsonpickle.decode "
    "jsonpickle.loads jsonpickle.unpickler.decode pandas.read_pickle pd.read_pickle yaml.unsafe_load "
    "yaml.unsafe_load_all yaml.full_load yaml.full_load_all pickle.Unpickler dill.Unpickler "
    "sklearn.externals.joblib.load".split()
)
YAML = frozenset("yaml.load yaml.load_all".split())
SAFE_YAML = ("SafeLoader", "CSafeLoader", "BaseLoader", "CBaseLoader")
WRITERS = frozenset("dump dumps encode".split())


def find(program: Program) -> Iterator[Finding]:
    """Loads of data that is neither a literal, nor what the program has just written, nor of a verified signature."""
    for event in program.events:
        if not isinstance(event, Call):
            continue
        data = event.given(0, "stream", "file", "filename", "filepath_or_buffer", "string", "data")
        if not _unsafe(event) or _own(data):
            continue
        yield finding(event, f"{event.name} can run code out of what it reads{_of(data)}")


def _unsafe(event: Call) -> bool:
    if event.name in LOADERS:
        return True
    if event.name in YAML:
        return not event.given(1, "Loader").name.endswith(SAFE_YAML)
    if event.name in ("torch.load",):
        only = event.keywords.get("weights_only")
        return only is None or only.literal is False
    if event.name in ("numpy.load", "np.load"):
        allowed = event.keywords.get("allow_pickle")
        return allowed is not None and allowed.literal is True
    made = event.receiver.call if event.receiver is not None else None
    if event.method == "load" and made is not None and made.name in ("ruamel.yaml.YAML", "YAML"):
        return bool(made.given(9, "typ").literal == "unsafe")
    return False


def _own(data: Value) -> bool:
    """Whether data is the program's own: a literal, just written by it, or checked against a signature."""
    if data.known or "502" in data.safe:
        return True
    return data.call is not None and data.call.method in WRITERS


def _of(data: Value) -> str:
    return f", {data.origin}" if data.origin else ""
