"""The configuration file: YAML text to a validated schema to the frozen model of lb4 and lb7."""
