"""Which route a request takes, and what becomes of its target. Pure."""
