"""Weaknesses, one module per CWE: each has find(program), which reads what flow/ has noted; imported by name."""
