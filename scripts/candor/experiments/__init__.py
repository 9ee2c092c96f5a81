"""Experiments: one module each, imported by the experiment's kind; `run(context)` gives its table's rows."""
