"""Files that a configuration names, judged by `check`: good, wrong, missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.config.errors import ConfigError
from cli.config.files import file_warnings
from cli.config.loader import load_file
from tests.certificate import authority, issued

CA = authority()
A = issued(CA, "a", "a.org")
OLD = issued(CA, "old", "a.org", days=-3)
GOOD = {"a.pem": A.cert, "a.key": A.key, "ca.pem": CA.cert, "users": b"ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="}
TEXT = """
version: 1
listeners:
  web:
    bind: 127.0.0.1:8443
    mode: http
    tls: {certificates: [{cert: a.pem, key: a.key}], client_ca: ca.pem}
    auth: {basic: users}
    routes: [{service: s}]
services:
  s: {backends: [10.0.0.1:80], tls: {ca: ca.pem}}
"""


def warnings(directory: Path, changed: dict[str, bytes | None]) -> tuple[str, ...]:
    """What is said of a configuration whose files lie beside it."""
    for name, content in {**GOOD, **changed}.items():
        if content is not None:
            (directory / name).write_bytes(content)
    (directory / "lb.yaml").write_text(TEXT)
    return file_warnings(load_file(directory / "lb.yaml"))


def test_good_files_beside_the_configuration_are_silent(tmp_path: Path) -> None:
    assert warnings(tmp_path, {}) == ()


@pytest.mark.parametrize("name", list(GOOD))
def test_missing_files_are_a_warning(name: str, tmp_path: Path) -> None:
    assert warnings(tmp_path, {name: None}) == (f"{tmp_path}/{name}: cannot be read: No such file or directory",)


def test_certificates_that_expired_are_a_warning(tmp_path: Path) -> None:
    (line,) = warnings(tmp_path, {"a.pem": OLD.cert, "a.key": OLD.key})
    assert line.startswith(f"{tmp_path}/a.pem: expired on ")


def test_all_wrong_files_are_errors_that_name_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        warnings(tmp_path, {"a.key": OLD.key, "users": b"ann:plain", "ca.pem": b"nothing"})
    lines = "\n".join(error.value.lines)
    assert f"{tmp_path}/a.key: is not the key of {tmp_path}/a.pem" in lines
    assert f"{tmp_path}/users: line 1: the password of ann" in lines
    assert f"{tmp_path}/ca.pem: holds no certificate" in lines
