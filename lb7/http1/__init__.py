"""HTTP/1.1 (RFC 9112): bytes to messages and back. Knows nothing of routes, services or backends."""
