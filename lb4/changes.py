"""What differs between two balancers, on the level people speak of: listeners, services, backends.

The rule: pure; a backend is named `SERVICE BACKEND`, as the commands that change one take it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from enum import Enum
from typing import Literal

from lb4.model import Backend, Balancer, Service


@dataclass(frozen=True, slots=True)
class ModelChange:
    """One thing that comes, goes or differs; detail says how it differs, in the words of the configuration.

    setting: what concerns lbctl itself, which a balancer knows nothing of.
    """

    action: Literal["add", "change", "remove"]
    kind: Literal["listener", "service", "backend", "setting"]
    name: str
    detail: str = ""


def changes(before: Balancer, after: Balancer) -> tuple[ModelChange, ...]:
    """All that differs, listeners first, each in the order of names."""
    return (
        *_named("listener", before.listeners, after.listeners),
        *_services(before.services, after.services),
    )


def _named(
    kind: Literal["listener", "service"], before: Mapping[str, object], after: Mapping[str, object]
) -> Iterator[ModelChange]:
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is None:
            yield ModelChange("add", kind, name)
        elif new is None:
            yield ModelChange("remove", kind, name)
        elif old is not new and old != new:
            yield ModelChange("change", kind, name, differences(old, new))


def _services(before: Mapping[str, Service], after: Mapping[str, Service]) -> Iterator[ModelChange]:
    touched = sorted(name for name in before.keys() | after.keys() if before.get(name) is not after.get(name))
    yield from _named("service", _bare(before, touched), _bare(after, touched))
    for name in touched:
        yield from _backends(name, _by_text(before.get(name)), _by_text(after.get(name)))


def _bare(services: Mapping[str, Service], names: Iterable[str]) -> dict[str, Service]:
    return {name: replace(services[name], backends=()) for name in names if name in services}


def _by_text(service: Service | None) -> dict[str, Backend]:
    return {str(b): b for b in service.backends} if service is not None else {}


def _backends(service: str, before: Mapping[str, Backend], after: Mapping[str, Backend]) -> Iterator[ModelChange]:
    for text in sorted(before.keys() | after.keys()):
        old, new, name = before.get(text), after.get(text), f"{service} {text}"
        if old is None:
            yield ModelChange("add", "backend", name)
        elif new is None:
            yield ModelChange("remove", "backend", name)
        elif old != new:
            yield ModelChange("change", "backend", name, differences(old, new))


def differences(old: object, new: object) -> str:
    """`weight 1 → 3, limits connections none → 100`: the fields of two values of one dataclass that differ."""
    return ", ".join(_differences(old, new))


def _differences(old: object, new: object, within: str = "") -> Iterator[str]:
    for each in fields(old):  # type: ignore[arg-type]
        before, after, name = getattr(old, each.name), getattr(new, each.name), within + each.name.replace("_", " ")
        if before == after:
            continue
        if _is_plain(before) and type(before) is type(after):
            yield from _differences(before, after, f"{name} ")
        else:
            yield f"{name} {shown(before)} → {shown(after)}"


def _is_plain(value: object) -> bool:
    """Whether it is a dataclass that has no text of its own."""
    return is_dataclass(value) and "__str__" not in type(value).__dict__


def shown(value: object) -> str:
    """A field's value for a person, short."""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple):
        return f"{len(value)} entries" if len(value) > 3 else ", ".join(map(shown, value)) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    if _is_plain(value):
        return f"({', '.join(_set_fields(value)) or 'defaults'})"
    return "none" if value is None or value in ("", b"") else str(value)


def _set_fields(value: object) -> Iterator[str]:
    """Name and value of the fields that are not at their default."""
    for each in fields(value):  # type: ignore[arg-type]
        here = getattr(value, each.name)
        if each.default is MISSING or here != each.default:
            yield f"{each.name.replace('_', ' ')} {shown(here)}"
