"""Panels: judges of the same texts, held against each other and against gold labels."""
