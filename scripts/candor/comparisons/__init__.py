"""Comparisons between two arms of prompts: one module per kind, each with compare(); imported by name."""
