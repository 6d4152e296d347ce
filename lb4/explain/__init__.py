"""What would happen to a packet, and why: a walk through the ruleset value. Pure."""
