"""Whatever text is given: a Configuration or a ConfigError with lines, never anything else."""

from __future__ import annotations

from pathlib import Path

import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cli.config import ConfigError, load
from cli.config.document import DocumentError, read

EXAMPLE = (Path(__file__).parents[1] / "unit" / "config_cases" / "example.yaml").read_text()
KEYS = """
    version workers listeners services bind protocol mode service allow deny limits snat tls auth routes
    match path path_prefix methods scheduler affinity key timeout health type every backends address
    weight backup dns web api connections new_connections slow_start panic_threshold proxy_protocol sni
    headers redirect respond split timeouts
""".split()  # noqa: SIM905 -- a list would be a word a line
BREAKS = "\x85\u2028\u2029"
"""Line breaks of YAML 1.1 that PyYAML writes as they are, and that are read back as spaces."""
PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=BREAKS), max_size=6)
WORDS = [
    *KEYS,
    *("nat", "gateway", "packet", "terminate", "http", "tcp", "udp", "round-robin", "python:a:b", "2s", "100/s", "50%"),
    *("10.0.0.1:80", "[2001:db8::1]:80", "0.0.0.0:1-65535", "10.0.0.0/8", "dns:a.example:80", "64KiB", "*.a", "/", "("),
]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=25,
)


def lines_of(text: str) -> list[str] | None:
    """The lines with which the text is refused, None if it is taken."""
    try:
        load(text, "lb.yaml")
    except ConfigError as error:
        return error.lines
    return None


def well_behaved(text: str) -> None:
    """What is wrong with a text must be said in lines of which none is more than a line."""
    lines = lines_of(text)
    assert lines is None or lines
    assert all(line.startswith("lb.yaml") and line.isprintable() and len(line) < 1000 for line in lines or ())


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    well_behaved(text)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="{}[]:-?&*!|>'\"%@`#,<~ \n\tab1", max_size=60))
def test_text_of_indicators(text: str) -> None:
    well_behaved(text)


@settings(max_examples=250, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6))
def test_any_values(values: dict[str, object]) -> None:
    well_behaved(yaml.safe_dump({"version": 1, **values}, allow_unicode=True))


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_a_good_file_with_values_replaced(data: st.DataObject) -> None:
    values = yaml.safe_load(EXAMPLE)
    for _ in range(data.draw(st.integers(1, 3))):
        holder: object = values
        while isinstance(holder, dict | list) and holder:
            place = data.draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
            inner = holder[place]
            if not isinstance(inner, dict | list) or data.draw(st.booleans()):
                holder[place] = data.draw(VALUES)
                break
            holder = inner
    well_behaved(yaml.safe_dump(values, allow_unicode=True))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(EXAMPLE) - 1), st.integers(0, 12), st.text(max_size=6))
def test_a_good_file_with_text_replaced(start: int, length: int, text: str) -> None:
    well_behaved(EXAMPLE[:start] + text + EXAMPLE[start + length :])


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        PLAIN | st.integers(-(2**62), 2**62),
        lambda v: st.lists(v, max_size=3) | st.dictionaries(PLAIN, v, max_size=3),
    )
)
def test_what_yaml_writes_is_read_back(value: object) -> None:
    text = yaml.safe_dump(value, allow_unicode=True)
    try:
        found = read(text)[0]
    except DocumentError:
        assume("<<" not in text)
        raise
    assert found == value
