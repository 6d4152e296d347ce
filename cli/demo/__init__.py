"""The article's scenes, played with real clients and servers in a lab.

The rule: a scene claims only what it observed; what it did not observe is a failure.
"""
