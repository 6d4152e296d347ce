"""The flows that the kernel tracks: read, told apart, ended."""
