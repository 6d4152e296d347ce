"""Metrics in Prometheus' text format: what there is, and how each is made from documents and counts."""
