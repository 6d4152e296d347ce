"""The lbctl command, the configuration file and the long-running side: what puts lb4 and lb7 together."""
