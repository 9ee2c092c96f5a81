"""What results rest on, from the provenance inside them: sources, models, and servers that were asked; and licences."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from candor import provenance, tables
from candor.config.publishing import Publication
from candor.publishing.chosen import PublishingError

UNKNOWN = "unknown"


class Origin(NamedTuple):
    """Something that was not made here: what it is (`source`, `model`, `service`), its licence, and what pins it."""

    kind: str
    name: str
    licence: str
    pinned: str
    address: str = ""

    @property
    def has_licence(self) -> bool:
        """Whether its licence is known."""
        return self.licence.lower() not in ("", UNKNOWN)


def origins(files: Iterable[Path]) -> list[Origin]:
    """All that files rest on, each once, sources before models and models before services."""
    found: set[Origin] = set()
    todo, seen = list(files), set()
    while todo:
        path = todo.pop()
        if path in seen or path.name == "adapter_config.json":  # what made it stands in the weights beside it
            continue
        seen.add(path)
        if path.parts[0] != "results":  # a text of this repository, or a file that the config names
            continue
        made = provenance.read(path)
        found |= set(_own(path, made))
        todo += map(Path, made["inputs"])
    order = ("source", "model", "service")
    return sorted(found, key=lambda origin: (order.index(origin.kind), origin))


def _own(path: Path, made: dict[str, Any]) -> Iterable[Origin]:
    """What the job that made a file took from elsewhere."""
    stage, spec = path.parts[1], made["spec"]
    if stage == "sources":
        digests = ", ".join(digest[:12] for digest in (made.get("files") or {}).values())
        address = spec["sources"]["id"] if spec["sources"]["kind"] == "hub" else ""
        pinned = made.get("revision") or (f"sha256 {digests}" if digests else "")
        yield Origin("source", path.stem, made.get("licence") or UNKNOWN, pinned, address)
    if stage == "models":
        facts, own = tables.read_json(path), spec["models"]
        pinned = facts["revision"] or f"files {provenance.digest(facts['files'])[:16]}"
        yield Origin("model", own["name"], own["licence"], pinned, own["id"] if own["source"] == "hub" else "")
    client = spec.get("clients", {})
    if client.get("provider", "local") != "local":
        yield Origin("service", client["model"], UNKNOWN, f"asked by {client['provider']}")


def licence_of(id: str, publication: Publication, found: Sequence[Origin]) -> str:
    """The licence that the config states, or the one that all origins share; PublishingError where there is none."""
    if publication.licence:
        return publication.licence
    told = {origin.licence.lower(): origin.licence for origin in found if origin.has_licence}
    unknown = [f"{origin.kind} {origin.name}" for origin in found if not origin.has_licence]
    if len(told) == 1 and not unknown:
        return next(iter(told.values()))
    why = f"it rests on {_few(unknown)}, whose licence is not known" if unknown else "its origins have several licences"
    if not unknown and told:
        why += f" ({', '.join(sorted(told.values()))})"
    raise PublishingError(f"publishing.{id}: {why}; state one that these allow in publishing.{id}.licence.")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
