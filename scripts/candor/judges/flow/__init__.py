"""Untrusted input followed through a program's syntax tree, without running it.

interpreter.py walks a program with abstract values (values.py): which of them hold untrusted input (sources.py), and
what calls (cleaning.py) and conditions (conditions.py) have made of it. It notes what happens to values as events
(events.py), which candor.judges.weaknesses reads, a module per weakness.
"""
