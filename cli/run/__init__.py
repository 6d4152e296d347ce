"""`lbctl run`: a supervisor that programs the kernel and watches, and workers without its rights."""
