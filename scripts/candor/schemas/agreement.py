"""Agreement of judges: one row per panel, measure, judge or pair, and class, with its interval."""

import pyarrow as pa

from candor.schemas.base import Column, TableSchema

MEASURES = (
    "cohen_kappa",  # of two judges, on the texts that both judged
    "fleiss_kappa",  # of three or more, on the texts that all judged
    "agreement",  # share of texts on which two judges, or all (judge null), give the same verdict
    "majority",  # share of texts, of those that all judged, on which more than half of the judges give this verdict;
    # verdict null: any
    "accuracy",  # share of the judge's verdicts that are right by gold
    "kappa_gold",  # Cohen's kappa of judge and gold
    "sensitivity",  # share of the texts of one gold class that get its verdict
    "specificity",  # share of the texts of all other gold classes that do not get its verdict
    "rate",  # share of the texts of one gold class that get a verdict
    "confusion",  # how many texts of a gold class get a verdict, a count without interval
)
AGREEMENT = TableSchema(
    "agreement",
    {
        "panel": Column(pa.string()),
        "measure": Column(pa.string(), choices=MEASURES),
        "judge": Column(pa.string(), nullable=True),  # null: all of them
        "other": Column(pa.string(), nullable=True),  # the second judge of a pair
        "verdict": Column(pa.string(), nullable=True),
        "gold": Column(pa.string(), nullable=True),  # the gold class that the row is about
        "value": Column(pa.float64(), nullable=True),  # null: undefined here, and `remark` says why
        "low": Column(pa.float64(), nullable=True),
        "high": Column(pa.float64(), nullable=True),
        "n": Column(pa.int64()),
        "n_skipped": Column(pa.int64()),  # texts without a verdict of a judge that it takes, or without gold
        "n_groups": Column(pa.int64()),  # distinct groups among the n
        "statuses": Column(pa.string()),  # by judge, how many texts have which status: a JSON object of objects
        "remark": Column(pa.string(), nullable=True),
    },
    key=("panel", "measure", "judge", "other", "verdict", "gold"),
)
