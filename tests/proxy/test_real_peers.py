"""Programs that others wrote: curl and h2load as clients, nginx as backend."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lb4.address import Endpoint, parse_ip
from tests.proxy.world import LOCALHOST, Server, World, answering, eventually

NGINX = """
daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log; user root;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {dir}/a; proxy_temp_path {dir}/b; fastcgi_temp_path {dir}/c;
  uwsgi_temp_path {dir}/d; scgi_temp_path {dir}/e; keepalive_requests 7;
  server {{ listen {here}:{port}; root {dir}; gzip on; gzip_min_length 1; gzip_types application/octet-stream;
    location /echo {{ return 200 "$request_method $request_uri $http_host"; }}
    location /moved {{ return 301 /echo; }} }} }}
"""


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0, command
    return out.decode()


@pytest.fixture
async def nginx(world: World, tmp_path: Path) -> AsyncIterator[Path]:
    """nginx behind the proxy; the directory that it serves."""
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    assert program, "the Debian package nginx-light is missing"
    with socket.create_server((LOCALHOST, 0)) as sock:
        port = sock.getsockname()[1]
    (tmp_path / "nginx.conf").write_text(NGINX.format(dir=tmp_path, here=LOCALHOST, port=port))
    process = await asyncio.create_subprocess_exec(
        program, "-c", str(tmp_path / "nginx.conf"), stderr=asyncio.subprocess.DEVNULL
    )

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((LOCALHOST, port)) == 0

    await eventually(answers)
    server = Server(answering(b""))
    server.endpoint = Endpoint(parse_ip(LOCALHOST), port)
    await world.serve(server)
    yield tmp_path
    process.terminate()
    await process.wait()


async def test_curl_and_nginx(world: World, nginx: Path) -> None:
    url = f"http://{LOCALHOST}:{world.port}"
    body = os.urandom(300_000)
    (nginx / "data").write_bytes(body)
    target = nginx / "fetched"
    assert await run("curl", "-sf", f"{url}/echo?a=b") == f"GET /echo?a=b {LOCALHOST}:{world.port}"
    assert await run("curl", "-sf", "-o", str(target), "-w", "%{http_code}", f"{url}/data") == "200"
    assert target.read_bytes() == body
    assert await run("curl", "-sf", "--compressed", "-o", str(target), "-w", "%{http_code}", f"{url}/data") == "200"
    assert target.read_bytes() == body
    assert await run("curl", "-s", "-r", "10-19", "-o", str(target), "-w", "%{http_code}", f"{url}/data") == "206"
    assert target.read_bytes() == body[10:20]
    assert (await run("curl", "-sI", f"{url}/data")).startswith("HTTP/1.1 200 OK")
    assert await run("curl", "-s0", f"{url}/echo") == f"GET /echo {LOCALHOST}:{world.port}"
    assert (await run("curl", "-sL", f"{url}/moved")).startswith("GET /echo")


async def test_curl_uploads(world: World) -> None:
    heads: list[bytes] = []
    await world.serve(await world.backend(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", heads=heads)))
    url = f"http://{LOCALHOST}:{world.port}/up"
    data = "x" * 200_000
    file = Path(world.log).with_name("upload")
    file.write_text(data)
    assert await run("curl", "-sf", "--data-binary", f"@{file}", url) == "ok"
    assert await run("curl", "-sf", "-H", "Transfer-Encoding: chunked", "--data-binary", f"@{file}", url) == "ok"
    assert await run("curl", "-sf", "-H", "Expect: 100-continue", "--data-binary", f"@{file}", url) == "ok"
    assert heads[0].endswith(data.encode())
    assert len(heads) == 3


async def test_h2load_gets_every_answer(world: World, nginx: Path) -> None:
    if shutil.which("h2load") is None:
        pytest.skip("the Debian package nghttp2-client is missing")
    said = await run("h2load", "--h1", "-n2000", "-c20", f"http://{LOCALHOST}:{world.port}/echo")
    assert re.search(r"2000 succeeded, 0 failed, 0 errored", said), said
