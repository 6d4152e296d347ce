"""nf_tables as lbctl needs it: one interface, kept by the real kernel and by one in memory."""
