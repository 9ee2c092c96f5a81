"""The live monitor: a saved probe watches a model while it reads and writes, token by token."""
