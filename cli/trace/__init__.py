"""`lbctl trace`: live packets as the article draws them: what arrived, what left, in both directions."""
