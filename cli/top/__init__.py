"""`lbctl top`: what is balanced, as a terminal screen that refreshes, with keys to drain and enable."""
