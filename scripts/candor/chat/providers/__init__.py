"""One module per provider, imported by name: its official SDK, the form of its requests, and its errors' meaning."""
