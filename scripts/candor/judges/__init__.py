"""Judges: one module per kind, imported by name, each with `judge(texts, config, …)`: one verdict per text.

PACKAGES names what a kind rests on, for the record of what made a table. A kind that needs more than texts has
`prepare(args, config)`, which gives what a job needs (candor.judges.preparing).
"""
