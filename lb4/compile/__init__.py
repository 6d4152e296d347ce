"""From the balancer to the ruleset: listeners and services in, one table value out. Pure."""
