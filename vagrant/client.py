"""What a client sees of the lab of vagrant/Vagrantfile.machines, from the machine `client`.

The rule: one line for each thing that was seen, `ok` or `FAIL`; exit status 0 only without a FAIL.
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
from collections import Counter

BALANCER = "10.77.0.10"
SERVERS = ("server1", "server2")
failed = False


def say(text: str, observed: bool, detail: object) -> None:
    """Prints whether it was seen."""
    global failed  # noqa: PLW0603 -- the exit status of a script
    failed |= not observed
    print(f"{'ok   ' if observed else 'FAIL '} {text}: {detail}", flush=True)


def request(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
    """Status and body."""
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    return response.status, response.read()


def connect(port: int) -> http.client.HTTPConnection:
    """A connection to the balancer."""
    return http.client.HTTPConnection(BALANCER, port, timeout=30)


def datagram() -> str:
    """Who answers one datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.sendto(b"hello", (BALANCER, 9000))
        return sock.recv(1500).split()[0].decode()


def main() -> int:
    """Everything; returns the exit status."""
    answers = [json.loads(request(connect(80), "/", {})[1]) for _ in range(12)]
    turns = Counter(answer["server"] for answer in answers)
    say("machines: nat, new connections take turns", turns == {"server1": 6, "server2": 6}, dict(turns))
    clients = {answer["client"].rpartition(":")[0] for answer in answers}
    say("machines: the servers saw the balancer as their client", clients == {"10.77.1.10"}, *clients)
    kept = connect(80)
    same = Counter(json.loads(request(kept, "/", {})[1])["server"] for _ in range(6))
    say("machines: requests of one connection stay on one server", len(same) == 1, dict(same))
    udp = Counter(datagram() for _ in range(4))
    say("machines: UDP takes turns", set(udp) == set(SERVERS), dict(udp))
    authorized = {"Authorization": "Bearer anything"}
    statuses = [
        request(connect(8080), *asked)[0] for asked in (("/ping", {}), ("/ping", authorized), ("/x", authorized))
    ]
    say("machines: http, 401 without Authorization, Pong with it, 404 elsewhere", statuses == [401, 200, 404], statuses)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
