"""Mode `terminate`: two connections in place of one, bytes copied between them."""
