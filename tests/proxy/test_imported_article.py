"""The article's Envoy configuration, imported and served: what its demo shows, over real sockets."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from cli.envoy.convert import imported

ARTICLE = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {0}}}}}
    filter_chains:
    - filters:
      - name: envoy.http_connection_manager
        config:
          codec_type: auto
          stat_prefix: ingress_http
          route_config:
            virtual_hosts:
            - name: backend
              domains: ["*"]
              routes:
              - match: {{prefix: /, headers: [{{name: Authorization, present_match: true, invert_match: true}}]}}
                direct_response: {{status: 401}}
              - match: {{path: /ping}}
                route: {{cluster: ping}}
          http_filters: [{{name: envoy.router}}]
  clusters:
  - name: ping
    connect_timeout: 0.25s
    type: strict_dns
    lb_policy: round_robin
    hosts:
    - socket_address: {{address: localhost, port_value: {1}}}
    - socket_address: {{address: localhost, port_value: {2}}}
"""
HOSTS = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n"
"""As Debian has it; the backends listen on 127.0.0.1 alone."""
WITH_HOSTS = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"']
LBCTL = [sys.executable, "-c", "from cli.main import main; main()"]


class Pong(BaseHTTPRequestHandler):
    """Says which server it is."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"Pong {self.server.server_port}".encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def backend() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pong)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def running(text: str, directory: Path) -> Iterator[None]:
    """`lbctl run` of this configuration, until it is ready."""
    (directory / "lb.yaml").write_text(text)
    hosts = directory / "hosts"
    hosts.write_text(HOSTS)
    environment = os.environ | {"LBCTL_RUN_DIR": str(directory / "run"), "LBCTL_STATE_DIR": str(directory / "state")}
    for name in ("run", "state"):
        (directory / name).mkdir()
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*WITH_HOSTS, str(hosts), *LBCTL, "run", str(directory / "lb.yaml")],
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + 30
        while " ready " not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.mark.root
@pytest.mark.parametrize("one_connection", [True, False])
def test_the_article_answers_as_it_says(one_connection: bool, tmp_path: Path) -> None:
    port = free_port()
    with backend() as first, backend() as second:
        text = imported(ARTICLE.format(port, first, second), "article.yaml").replace(
            "version: 1", "version: 1\nworkers: 1"
        )
        with running(text, tmp_path):
            connection = HTTPConnection("127.0.0.1", port, timeout=10)

            def asked(path: str, **headers: str) -> tuple[int, str]:
                connection.request("GET", path, headers=headers)
                answer = connection.getresponse()
                body = answer.read().decode()
                if not one_connection:
                    connection.close()
                return answer.status, body

            assert asked("/ping")[0] == 401
            assert asked("/ping", Authorization="")[0] == 401
            pongs = [asked("/ping", Authorization="x") for _ in range(4)]
            assert asked("/other", Authorization="x")[0] == 404
            connection.close()
    assert [status for status, _ in pongs] == [200] * 4
    bodies = [body for _, body in pongs]
    assert set(bodies) == {f"Pong {first}", f"Pong {second}"}
    assert bodies[:2] == bodies[2:]
