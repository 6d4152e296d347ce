"""How a service picks a backend: one file a concept, all of them pure."""
