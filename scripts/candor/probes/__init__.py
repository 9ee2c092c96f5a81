"""Probes: families, batched training, files and scores (docs/high_stakes.md)."""
