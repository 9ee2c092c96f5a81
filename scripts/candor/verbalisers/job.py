"""One verbalisation job, from its command line to its table; each kind of verbaliser has a module that makes its rows.

What a table rests on stands in its record as `reads`: the activation, or the prompt, with or without the response.
"""

import importlib
from argparse import Namespace
from collections import Counter
from typing import Any

import pyarrow as pa
from pydantic import TypeAdapter

from candor import provenance, tables
from candor.batching import shard_slice
from candor.config.verbalisers import Verbaliser
from candor.errors import CandorError
from candor.schemas.dataset import DATASET
from candor.schemas.verbalisation import VERBALISATION
from candor.verbalisers.preparing import Prepared

MODULES = {"chat": "candor.verbalisers.chat_job", "nla": "candor.verbalisers.nla_job"}


def verbalise(args: Namespace, script: str) -> dict[str, int]:
    """Put a shard of a dataset into words with the verbaliser of the spec; return counts by status."""
    config: Verbaliser = TypeAdapter(Verbaliser).validate_python(args.spec["verbalisers"])
    data = tables.read(args.data, DATASET)
    prepared: Prepared = importlib.import_module(MODULES[config.kind]).prepare(args, config, chosen(data, config, args))
    inputs = [args.data, *prepared.inputs]
    made = provenance.record(script, args.code, args.spec, inputs, prepared.packages, **prepared.facts)
    with prepared.opened(made) as (rows, facts):
        statuses = dict(sorted(Counter(row["status"] for row in rows).items()))
        tables.write(args.output, rows, VERBALISATION, {**made, **facts, "n": len(rows), "statuses": statuses})
    return statuses


def chosen(data: pa.Table, config: Verbaliser, args: Namespace) -> list[dict[str, Any]]:
    """The examples of the job's shard that are put into words, in the dataset's order."""
    rows = data.to_pylist()
    if not rows:
        raise CandorError(f"{args.data}: holds no examples, so there is nothing to put into words.")
    if config.splits and not any(row["split"] in config.splits for row in rows):
        raise CandorError(
            f"{args.data}: holds no example of the splits {', '.join(config.splits)}; change the verbaliser's `splits`."
        )
    return [
        row for row in rows[shard_slice(args.shard, len(rows))] if not config.splits or row["split"] in config.splits
    ]
