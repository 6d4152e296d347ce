"""DNS names of backends: looked up, and what an answer means."""
