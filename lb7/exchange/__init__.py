"""One request and its response: from a client's message to a backend and back."""
