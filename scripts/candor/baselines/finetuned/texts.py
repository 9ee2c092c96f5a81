"""What a finetuned classifier reads, token for token what probes read, and which of it it learns from."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from candor.chat_text import encode
from candor.config.baselines import Finetuned
from candor.data.draws import balanced_order, first_groups
from candor.data.examples import RowError
from candor.errors import CandorError
from candor.schemas.status import SCORED

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Texts(NamedTuple):
    """Token ids of n rows, and what became of each: ok, truncated, or empty, which gets no score."""

    token_ids: list[list[int]]
    statuses: list[str]

    @property
    def n_tokens(self) -> list[int]:
        return [len(ids) for ids in self.token_ids]

    def of(self, which: Sequence[int]) -> "Texts":
        """Those of the rows `which`."""
        return Texts([self.token_ids[i] for i in which], [self.statuses[i] for i in which])

    def scored(self) -> list[int]:
        """Indices of the rows that can carry a score."""
        return [i for i, status in enumerate(self.statuses) if status in SCORED]


class Labelled(NamedTuple):
    """Examples with a class: token ids, indices of their classes, and their groups."""

    token_ids: list[list[int]]
    y: list[int]
    groups: list[str]


class Division(NamedTuple):
    """Which examples are learnt from, and which choose the epoch that is kept; the latter may be none."""

    train: list[int]
    held_out: list[int]


def read_texts(
    rows: Sequence[Mapping[str, Any]], tokenizer: "PreTrainedTokenizerBase", options: Finetuned, part: str
) -> Texts:
    """Encode rows of a dataset table: the chat template without a generation prompt, cut to `max_tokens`."""
    token_ids, statuses = [], []
    for row in rows:
        try:
            encoded = encode(row["messages"], tokenizer, options.max_tokens, options.truncate)
        except CandorError as error:
            raise RowError(f"{part}, example {row['example_id']}: {error}") from None
        token_ids.append(encoded.token_ids)
        statuses.append("empty" if not encoded.token_ids else "truncated" if encoded.truncated else "ok")
    return Texts(token_ids, statuses)


def usable_rows(rows: Sequence[Mapping[str, Any]], texts: Texts, classes: Sequence[str]) -> list[int]:
    """Indices of the rows that have a text and are of one of the classes."""
    return [i for i in texts.scored() if rows[i]["label"] in classes]


def labelled(rows: Sequence[Mapping[str, Any]], texts: Texts, classes: Sequence[str], which: Sequence[int]) -> Labelled:
    """The rows `which`, with their classes and groups."""
    y = [list(classes).index(rows[i]["label"]) for i in which]
    return Labelled([texts.token_ids[i] for i in which], y, [rows[i]["group_id"] for i in which])


def drawn(rows: Sequence[Mapping[str, Any]], which: Sequence[int], limit: int | None, seed: int) -> list[int]:
    """Of the rows `which`, at most `limit`: whole groups, balanced by class; a smaller draw is part of a larger one."""
    order = balanced_order([rows[i]["group_id"] for i in which], [rows[i]["label"] for i in which], seed)
    return [which[i] for i in sorted(chain(*first_groups(order, limit)))]


def divided(rows: Sequence[Mapping[str, Any]], which: Sequence[int], share: float, seed: int) -> Division:
    """Hold out about a share of the groups of the rows `which`: at least as many as it takes to hold every class.

    Where either side would lack a class nothing is held out, as with the few examples of a small draw.
    """
    labels = [rows[i]["label"] for i in which]
    order = balanced_order([rows[i]["group_id"] for i in which], labels, seed)
    wanted, count = set(labels), round(share * len(order))
    while 0 < count < len(order) and {labels[i] for inside in order[:count] for i in inside} != wanted:
        count += 1
    held_out = {i for inside in order[:count] for i in inside}
    if not held_out or {label for i, label in enumerate(labels) if i not in held_out} != wanted:
        return Division(list(which), [])
    return Division(*([which[i] for i in range(len(which)) if (i in held_out) == side] for side in (False, True)))
