"""The small texts of routes: hosts, paths, header names and values, methods, statuses, regular expressions.

The rule: as in `values`: each reads one text and raises ValueError that says what was wrong and what would be right.
"""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, PlainValidator, WithJsonSchema

from cli.config.errors import shown
from lb7.routes.path import TargetError, normalised_path

HOST = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*)(\.[a-z0-9_]([a-z0-9_-]*))*|\[[0-9a-f:.]+\]")
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
FIELD_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
OURS = frozenset(("connection", "content-length", "transfer-encoding", "upgrade", "keep-alive", "te", "trailer"))
HTTP_URL = re.compile(r"https?://[^\s/?#]+[^\s#]*")


def listed(value: object) -> object:
    """One text as a list of it."""
    return [value] if isinstance(value, str) else value


def host(value: object) -> str:
    """A host name in lower case, exact or `*.example.org`, without a port."""
    text = _text(value, "a host name such as example.org or *.example.org").lower().rstrip(".")
    if HOST.fullmatch(text):
        return text
    if HOST.fullmatch(text.partition(":")[0]):
        raise ValueError(f"{shown(value)} has a port; routes compare the name alone: write {text.partition(':')[0]}")
    raise ValueError(f"{shown(value)} is not a host name; write example.org or *.example.org")


def path(value: object) -> str:
    """A path in its one spelling, percent-encoded where that is needed."""
    text = _text(value, "a path such as /payments")
    if not text.startswith("/"):
        raise ValueError(f"{shown(value)} is not a path; write /{text}")
    if "?" in text or "#" in text:
        raise ValueError(f"{shown(value)} holds more than a path; write {text.partition('?')[0].partition('#')[0]}")
    try:
        normal = re.sub("//+", "/", normalised_path(text))
    except TargetError as error:
        raise ValueError(f"{shown(value)}: {error}") from None
    return normal


def regex(value: object) -> str:
    """A regular expression that compiles."""
    text = _text(value, "a regular expression")
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{shown(value)} is not a regular expression: {error}") from None
    return text


def header_name(value: object) -> str:
    """A field name (RFC 9110 section 5.1) that is not the proxy's own to say."""
    text = _text(value, "a header name such as X-Request-Id")
    if not TOKEN.fullmatch(text):
        raise ValueError(f"{shown(value)} is not a header name; write one such as X-Request-Id")
    if text.lower() in OURS:
        raise ValueError(f"{shown(value)} belongs to one connection and is written by lbctl itself")
    return text


def header_value(value: object) -> str:
    """A field value (RFC 9110 section 5.5)."""
    text = _text(value, "a header value; write it in quotes")
    if not FIELD_VALUE.fullmatch(text):
        raise ValueError(f"{shown(value)} holds control characters and is no header value")
    return text.strip(" \t")


def method(value: object) -> str:
    """A method, which is case-sensitive (RFC 9110 section 9.1)."""
    text = _text(value, "a method such as GET")
    if not TOKEN.fullmatch(text):
        raise ValueError(f"{shown(value)} is not a method; write one such as GET")
    if text != text.upper() and text.upper() in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT"):
        raise ValueError(f"{shown(value)} is not a method; write {text.upper()}")
    return text


def http_url(value: object) -> str:
    """An absolute http or https URL."""
    text = _text(value, "a URL such as http://127.0.0.1:9000/auth")
    try:
        usable = HTTP_URL.fullmatch(text) is not None and (urlsplit(text).port or 80) > 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"{shown(value)} is not a URL; write one such as http://127.0.0.1:9000/auth")
    return text


def redirect_keys(text: str) -> dict[str, object]:
    """What a redirect written as a text stands for."""
    if text == "https":
        return {"scheme": "https", "status": 308}
    if text.startswith("/"):
        return {"path": text}
    url = urlsplit(http_url(text))
    replaced = {"scheme": url.scheme, "host": url.hostname, "port": url.port, "path": url.path}
    return {**{key: value for key, value in replaced.items() if value}, "query": False}


def _text(value: object, wanted: str) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"{shown(value)} is not {wanted}")


def _schema(pattern: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": list(examples)}, mode="validation")


Host = Annotated[str, PlainValidator(host), _schema(r"^(\*\.)?[^\s/:*]+$|^\[.+\]$", "example.org", "*.example.org")]
PathText = Annotated[str, PlainValidator(path), _schema(r"^/[^?#\s]*$", "/payments")]
Regex = Annotated[str, PlainValidator(regex), _schema(r"", r"/users/[0-9]+")]
HeaderName = Annotated[str, PlainValidator(header_name), _schema(rf"^{TOKEN.pattern}$", "X-Request-Id")]
HeaderValue = Annotated[str, PlainValidator(header_value), _schema(r"")]
Method = Annotated[str, PlainValidator(method), _schema(rf"^{TOKEN.pattern}$", "GET")]
HttpUrl = Annotated[str, PlainValidator(http_url), _schema(r"^https?://\S+$", "http://127.0.0.1:9000/auth")]
Status = Annotated[int, Field(ge=200, le=599)]
