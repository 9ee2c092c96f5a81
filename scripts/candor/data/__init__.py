"""Datasets: transforms, splits, repeats and leakage."""
