"""The control socket: every operation of the commands, asked of the process of `lbctl run`."""
