"""The state directory: what was applied, what was before, and what the operator changed since.

The rule: every file is written whole or not at all (temporary file, fsync, rename), and only under the lock; a
directory that cannot be written stops an operation before the kernel is touched.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lb4.address import Endpoint, parse_endpoint
from lb4.model import AdminState

ORIGIN = "# lbctl: from "
"""How the first line of a remembered configuration begins; the path of the file it came from follows."""


class StateError(Exception):
    """The state directory could not be read or written: the message says which file, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A configuration as it was applied: its text and the absolute path of the file it came from."""

    text: str
    path: str


@dataclass(frozen=True, slots=True)
class Override:
    """What the operator wants of one backend, apart from the file; None leaves it to the file."""

    admin: AdminState | None = None
    weight: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether all is left to the file."""
        return self.admin is None and self.weight is None


Overrides = Mapping[tuple[str, Endpoint], Override]
"""By (service, backend)."""


@dataclass(frozen=True, slots=True)
class State:
    """One state directory.

    Files: `applied.yaml` is in force; `next.yaml` is being applied (after a crash it tells which of the two the
    kernel may hold); `previous.yaml` is what a rollback returns to; `overrides.json` is the operator's.
    """

    directory: Path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the lock of the directory: two that change something wait for each other. Raises StateError."""
        path = self.directory / "lock"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unwritable(path, error) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def applied(self) -> Remembered | None:
        """What is in force, None if nothing is."""
        return self._recall("applied.yaml")

    def previous(self) -> Remembered | None:
        """What was in force before, None if nothing was."""
        return self._recall("previous.yaml")

    def next(self) -> Remembered | None:
        """What an apply that was interrupted was about to bring into force."""
        return self._recall("next.yaml")

    def begin(self, configuration: Remembered) -> None:
        """Notes what is about to be brought into force."""
        self._write("next.yaml", written(configuration))

    def finish(self) -> None:
        """What was about to be is in force now, and what was in force is the previous one."""
        applied, previous, kept = (self.directory / n for n in ("applied.yaml", "previous.yaml", ".previous.yaml.new"))
        try:
            kept.unlink(missing_ok=True)
            if applied.exists():
                kept.hardlink_to(applied)
                kept.rename(previous)
            else:
                previous.unlink(missing_ok=True)
            (self.directory / "next.yaml").rename(applied)
            sync_directory(self.directory)
        except OSError as error:
            raise unwritable(applied, error) from None

    def abandon(self) -> None:
        """What was about to be will not be."""
        self._remove("next.yaml")

    def retire(self) -> None:
        """Nothing is in force any more, and what was is the previous one."""
        applied, previous = self.directory / "applied.yaml", self.directory / "previous.yaml"
        self._remove("next.yaml")
        try:
            if applied.exists():
                applied.rename(previous)
        except OSError as error:
            raise unwritable(applied, error) from None

    def forget(self) -> None:
        """Nothing is in force, and nothing was before."""
        for name in ("applied.yaml", "next.yaml", "previous.yaml"):
            self._remove(name)

    def overrides(self) -> Overrides:
        """What the operator changed apart from the file."""
        text = self._read("overrides.json")
        if text is None:
            return {}
        try:
            return parsed_overrides(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            path = self.directory / "overrides.json"
            raise StateError(f"{path} is damaged ({error}); remove it to leave all to the file") from None

    def save_overrides(self, overrides: Overrides) -> None:
        """Remembers them in place of those before."""
        self._write("overrides.json", json.dumps(written_overrides(overrides), indent=1, sort_keys=True) + "\n")

    def _recall(self, name: str) -> Remembered | None:
        text = self._read(name)
        if text is None:
            return None
        first, _, rest = text.partition("\n")
        return Remembered(rest, first.removeprefix(ORIGIN)) if first.startswith(ORIGIN) else Remembered(text, "")

    def _read(self, name: str) -> str | None:
        path = self.directory / name
        try:
            return path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except UnicodeDecodeError:
            raise StateError(f"{path} is damaged: not UTF-8 text; remove it") from None
        except OSError as error:
            raise StateError(f"cannot read {path}: {error.strerror}") from None

    def _write(self, name: str, text: str) -> None:
        path, fresh = self.directory / name, self.directory / f".{name}.new"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with fresh.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(path)
            sync_directory(self.directory)
        except OSError as error:
            raise unwritable(path, error) from None

    def _remove(self, name: str) -> None:
        path = self.directory / name
        try:
            path.unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except OSError as error:
            raise unwritable(path, error) from None


def unwritable(path: Path, error: OSError) -> StateError:
    """The error of a file that cannot be written, with what to do."""
    return StateError(
        f"cannot write {path}: {error.strerror}; make room there, or set LBCTL_STATE_DIR to another place"
    )


def sync_directory(directory: Path) -> None:
    """Makes renames in the directory last through a power cut."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def written(configuration: Remembered) -> str:
    """The text of the file that remembers a configuration."""
    return f"{ORIGIN}{configuration.path}\n{configuration.text}"


def written_overrides(overrides: Overrides) -> dict[str, dict[str, dict[str, str | int]]]:
    """As JSON: by service, by backend, `admin` and `weight` where the operator set them."""
    document: dict[str, dict[str, dict[str, str | int]]] = {}
    for (service, backend), override in overrides.items():
        wanted: dict[str, str | int] = {}
        if override.admin is not None:
            wanted["admin"] = override.admin.value
        if override.weight is not None:
            wanted["weight"] = override.weight
        document.setdefault(service, {})[str(backend)] = wanted
    return document


def parsed_overrides(document: Mapping[str, Mapping[str, Mapping[str, str | int]]]) -> Overrides:
    """The overrides of what `written_overrides` wrote. Raises ValueError, KeyError, TypeError or AttributeError."""
    return {
        (service, parse_endpoint(backend)): Override(
            admin=AdminState(str(wanted["admin"])) if "admin" in wanted else None,
            weight=int(wanted["weight"]) if "weight" in wanted else None,
        )
        for service, backends in document.items()
        for backend, wanted in backends.items()
    }
