"""Layer 7: the terminating HTTP proxy. Stands on lb4's pure modules; never imports cli."""
