"""Records each scene of the demo on a terminal of its own, in asciinema's format: `sudo python docs/casts/record.py`.

The rule: what stands in a cast was printed by the program, at the time it says; nothing is edited.

Play one with `asciinema play docs/casts/nat.cast`. Format: asciicast v2: a header, then `[seconds, "o", text]` a line.
"""

from __future__ import annotations

import codecs
import json
import os
import pty
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
SCENES = ("nat", "keepalive", "http")
WIDTH, HEIGHT = 120, 40


def record(command: list[str]) -> tuple[int, list[tuple[float, str]]]:
    """Exit status and what a program printed on a terminal, each piece with the seconds since the start."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(COLUMNS=str(WIDTH), LINES=str(HEIGHT), TERM="xterm-256color")
        os.execvp(command[0], command)
    begun, events = time.monotonic(), []
    text = codecs.getincrementaldecoder("utf-8")("replace")
    while piece := _read(terminal):
        events.append((round(time.monotonic() - begun, 6), text.decode(piece)))
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), events


def _read(terminal: int) -> bytes:
    """The next piece, or nothing at the end: Linux says EIO when the last process has closed the terminal."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def cast(title: str, events: list[tuple[float, str]]) -> str:
    """The recording as asciicast v2."""
    header = {"version": 2, "width": WIDTH, "height": HEIGHT, "title": title}
    lines = [header, *([at, "o", text] for at, text in events)]
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)


def main() -> int:
    """Records all scenes; returns the exit status."""
    for scene in SCENES:
        status, events = record([str(Path(sys.executable).with_name("lbctl")), "demo", scene])
        if status:
            print("".join(text for _, text in events), file=sys.stderr)
            return status
        (HERE / f"{scene}.cast").write_text(cast(f"lbctl demo {scene}", events), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
