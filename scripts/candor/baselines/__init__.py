"""Monitors that do not read activations: one module per kind (STUDIES.md, B4)."""
