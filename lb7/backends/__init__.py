"""The backends of a service as a worker sees them: kept connections, ejection, retries, affinity."""
