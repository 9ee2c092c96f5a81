"""The one list of what can become of a row."""

STATUSES = (
    "ok",
    "truncated",
    "empty",
    "no_reasoning",
    "no_code",
    "unparseable",
    "invalid",
    "refused",
    "error",
    "not_finite",
)
SCORED = ("ok", "truncated")
"""Statuses whose rows carry a score; the others are skipped and counted."""
