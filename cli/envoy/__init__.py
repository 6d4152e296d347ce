"""Envoy's static configurations, v2 and v3, as configurations of lbctl."""
