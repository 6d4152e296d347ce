"""The building blocks of the schema: the strict base of all its models, and its texts as annotated types.

The rule: what a text means is in `values`; here it is only joined with what JSON Schema says of it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, StringConstraints, WithJsonSchema

from cli.config import values
from lb4.address import Bind, Endpoint, IPAddress
from lb4.model import IPNetwork, Rate, Scheduler


def number(value: object) -> object:
    """The value, but that true is not 1 as it is in Python. Raises ValueError."""
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is not a number")
    return value


class Keys(BaseModel):
    """A mapping of the file: unknown keys are refused, nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True, populate_by_name=True)


NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Name = Annotated[str, StringConstraints(pattern=NAME)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
ServerName = Annotated[Text, AfterValidator(values.server_name)]
Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]


def _text(pattern: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": list(examples)}, mode="validation")


Duration = Annotated[
    float,
    PlainValidator(values.duration),
    _text(r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d)|0)$", "250ms", "2s", "10m", "1h"),
]
RateText = Annotated[Rate, PlainValidator(values.rate), _text(r"^[0-9]{1,9}/(s|m|h)$", "100/s", "10/m")]
Size = Annotated[
    int,
    PlainValidator(values.size),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^[0-9]+([KMG]iB|[kMG]?B)?$"}],
            "examples": ["64KiB", "10MiB"],
        },
        mode="validation",
    ),
]
Fraction = Annotated[
    float,
    PlainValidator(values.fraction),
    WithJsonSchema(
        {
            "anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string", "pattern": r"^[0-9.]+%$"}],
            "examples": [0.5, "50%"],
        },
        mode="validation",
    ),
]
BindText = Annotated[
    Bind,
    PlainValidator(values.bind),
    _text(r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]+(-[0-9]+)?$", "192.0.2.10:80", "[2001:db8::10]:8000-8099"),
]
Address = Annotated[IPAddress, PlainValidator(values.address), _text(r"^[0-9A-Fa-f:.]+$", "192.0.2.20")]
Prefix = Annotated[IPNetwork, PlainValidator(values.prefix), _text(r"^[0-9A-Fa-f:.]+(/[0-9]+)?$", "10.0.0.0/8")]
Target = Annotated[
    Endpoint | tuple[str, int],
    PlainValidator(values.target),
    _text(r"^\S+$", "10.0.1.2:8080", "10.0.1.2", "[2001:db8::2]:8080", "dns:payments.internal:8080"),
]
SchedulerText = Annotated[
    Scheduler,
    PlainValidator(values.scheduler),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(values.SCHEDULERS)},
                {"type": "string", "pattern": r"^python:[A-Za-z_][\w.]*:[A-Za-z_]\w*$"},
            ],
            "examples": ["maglev", "python:mymodule:pick"],
        },
        mode="validation",
    ),
]
