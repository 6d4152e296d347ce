"""Packet mode: every packet parsed, decided and rewritten in user space, as the article draws it."""
