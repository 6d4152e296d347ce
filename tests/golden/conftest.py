"""`pytest tests/golden --regenerate` writes the expectations anew; a person reads the difference."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write tests/golden/*/ruleset.nft and the like anew")
