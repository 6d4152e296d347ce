"""Where a request goes instead of its own URL: rewritten paths for backends, Locations of redirects.

The rule: the part that the route's match named is replaced, the rest and the query stay as they were.
"""

from __future__ import annotations

from lb7.model import Match, Redirect, Rewrite
from lb7.routes.path import route_key
from lb7.routes.table import bare_host

DEFAULT_PORTS = {"http": 80, "https": 443}


def rewritten_target(rewrite: Rewrite, match: Match, target: str) -> str:
    """The normalised target as the backend gets it."""
    if rewrite.path_prefix is None:
        return target
    path, mark, query = target.partition("?")
    return replaced_prefix(rewrite.path_prefix, match, path) + mark + query


def replaced_prefix(wanted: str, match: Match, path: str) -> str:
    """The path with wanted instead of the prefix that the match names, or of the whole path that it names."""
    named = match.path or match.path_prefix
    rest = route_key(path)[len(named.rstrip("/")) :] if named != match.path or not named else ""
    return wanted.rstrip("/") + rest if rest else wanted


def location(redirect: Redirect, match: Match, scheme: str, host: str, target: str) -> str:
    """The URL to send the client to; host is the request's, with or without a port, scheme its connection's."""
    to_scheme = redirect.scheme or scheme
    path, mark, query = target.partition("?")
    if redirect.path is not None:
        path = redirect.path
    elif redirect.path_prefix is not None:
        path = replaced_prefix(redirect.path_prefix, match, path)
    tail = mark + query if redirect.keep_query else ""
    if tail and "?" in path:
        tail = "&" + query
    return f"{to_scheme}://{_authority(redirect, to_scheme, host)}{path}{tail}"


def _authority(redirect: Redirect, scheme: str, host: str) -> str:
    """Host and port; the client's port stays only where neither scheme, host nor port is replaced."""
    name = redirect.host or bare_host(host)
    if redirect.port is not None:
        return name if redirect.port == DEFAULT_PORTS.get(scheme) else f"{name}:{redirect.port}"
    return name if redirect.scheme or redirect.host else host
