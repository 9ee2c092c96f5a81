"""Judges: one module per kind, each with `judge(texts, config) -> verdicts`, one verdict per text; imported by name.

PACKAGES names what a kind rests on, for the record of what made a table.
"""
