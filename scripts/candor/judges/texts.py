"""What a judge reads and what it gives, whatever its kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from candor.config.judges import Reads
from candor.schemas.status import SCORED


@dataclass(frozen=True)
class Judged:
    """A response, with the prompt that it answers; a part that is not there is None, and `status` says why.

    `group_id` names the request, which several arms and samples share; `arm` is the prompt's label. `token_index` is
    the place that a verbalisation is about; None for a text that is about no single place.
    """

    example_id: str
    sample_index: int
    group_id: str
    arm: str | None
    prompt: Sequence[Mapping[str, str]]
    reasoning: str | None
    answer: str | None
    status: str
    attributes: Mapping[str, Any]
    token_index: int | None = None

    @property
    def key(self) -> tuple[str, int, int | None]:
        """Names the text among those of a judge."""
        return self.example_id, self.sample_index, self.token_index

    def part(self, name: Reads) -> str | None:
        """A part of the response; None where it is absent or blank."""
        text = self.reasoning if name == "reasoning" else self.answer
        return text if text and text.strip() else None


class Verdict(NamedTuple):
    """What a judge says of one text; `verdict` is None where it can say nothing, and `status` says why.

    `attempts` are requests sent for it, tokens and `usd` what they took; a judge that asks nobody has made one attempt.
    """

    status: str
    verdict: str | None = None
    score: float | None = None
    rationale: str | None = None
    raw: str | None = None
    confidence: float | None = None
    attempts: int = 1
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0


def absent(text: Judged, part: Reads) -> Verdict:
    """No verdict on a response without the part that is judged: its own status stays, where that tells of it."""
    if text.status not in SCORED:
        return Verdict(text.status)
    return Verdict("no_reasoning" if part == "reasoning" else "empty")
