"""The state directory: whole files or none, and what a kill in the middle leaves."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from cli.state import Override, Remembered, State, StateError
from lb4.address import parse_endpoint
from lb4.model import AdminState

ONE, TWO = Remembered("version: 1\n", "/etc/lbctl/one.yaml"), Remembered("version: 1\n# two\n", "/etc/lbctl/two.yaml")


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "state")


def applied(state: State, configuration: Remembered) -> None:
    state.begin(configuration)
    state.finish()


def test_nothing_yet(state: State) -> None:
    assert (state.applied(), state.previous(), state.next(), dict(state.overrides())) == (None, None, None, {})


def test_what_was_applied_is_remembered_word_for_word(state: State) -> None:
    applied(state, ONE)
    assert (state.applied(), state.previous()) == (ONE, None)
    applied(state, TWO)
    assert (state.applied(), state.previous(), state.next()) == (TWO, ONE, None)


def test_abandoned(state: State) -> None:
    applied(state, ONE)
    state.begin(TWO)
    assert state.next() == TWO
    state.abandon()
    assert (state.applied(), state.next()) == (ONE, None)


def test_retired_can_be_returned_to(state: State) -> None:
    applied(state, ONE)
    state.retire()
    state.retire()
    assert (state.applied(), state.previous()) == (None, ONE)


def test_finishing_twice_after_a_kill_in_between(state: State) -> None:
    applied(state, ONE)
    state.begin(TWO)
    (state.directory / "previous.yaml").hardlink_to(state.directory / "applied.yaml")
    state.finish()
    assert (state.applied(), state.previous()) == (TWO, ONE)


def test_overrides(state: State) -> None:
    wanted = {
        ("web", parse_endpoint("10.0.1.2:80")): Override(admin=AdminState.DRAINING),
        ("web", parse_endpoint("[2001:db8::1]:80")): Override(weight=0),
        ("files", parse_endpoint("10.0.1.2")): Override(AdminState.DISABLED, 7),
    }
    state.save_overrides(wanted)
    assert state.overrides() == wanted


@pytest.mark.parametrize("text", ["", "[]", "{", '{"web": {"nobody": {}}}', '{"web": {"10.0.0.1:80": {"admin": "?"}}}'])
def test_damaged_overrides_are_told(state: State, text: str) -> None:
    state.directory.mkdir()
    (state.directory / "overrides.json").write_text(text)
    with pytest.raises(StateError, match="damaged"):
        state.overrides()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    state = State(tmp_path / "file" / "state")
    with pytest.raises(StateError, match="LBCTL_STATE_DIR"):
        state.begin(ONE)
    with pytest.raises(StateError, match="LBCTL_STATE_DIR"), state.locked():
        pass
    assert state.applied() is None


def test_one_at_a_time(state: State) -> None:
    entered = threading.Event()

    def second() -> None:
        with State(state.directory).locked():
            entered.set()

    other = threading.Thread(target=second)
    with state.locked():
        other.start()
        assert not entered.wait(0.2)
    other.join(10)
    assert entered.is_set()
