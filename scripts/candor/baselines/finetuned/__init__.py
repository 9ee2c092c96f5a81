"""A subject model with a classification head on its last token, finetuned on a task (docs/high_stakes.md)."""
