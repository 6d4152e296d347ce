"""Who may pass: one file a method, one interface for all of them."""
