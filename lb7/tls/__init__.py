"""TLS towards clients and backends: contexts from certificates."""
