"""Monitors that do not read activations: one module per kind (docs/high_stakes.md)."""
