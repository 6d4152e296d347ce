"""Netlink: the socket to the kernel, and attributes as bytes."""
