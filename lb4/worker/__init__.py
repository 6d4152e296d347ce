"""How the supervisor and its workers talk: a worker touches bytes from outside, so none of its words is trusted."""
