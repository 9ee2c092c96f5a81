"""Batch endpoints, one module per provider, imported by name; what they send and read is that of chat/providers."""
