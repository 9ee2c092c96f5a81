"""Probes: families, batched training, files and scores (STUDIES.md, B3)."""
