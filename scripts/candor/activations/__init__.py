"""Activations: hooks into a subject model, extraction, and the files that hold them."""
