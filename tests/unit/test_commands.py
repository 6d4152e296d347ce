"""Commands as real processes: exit status, which stream, and what a pipe, a closed pipe and Ctrl-C do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.commands import COMMANDS

EXAMPLE = Path(__file__).with_name("config_cases") / "example.yaml"
CERTIFICATE = ("api.pem", "api.key")
LBCTL = [sys.executable, "-c", "from cli.main import main; main()"]


def lbctl(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end with its streams in pipes."""
    return subprocess.run(
        [*LBCTL, *arguments], capture_output=True, text=True, env=os.environ | environment, timeout=60, check=False
    )


def test_help_names_every_command() -> None:
    done = lbctl("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


def test_a_valid_file() -> None:
    done = lbctl("check", str(EXAMPLE))
    missing = [f"warning: {EXAMPLE.parent}/{name}: cannot be read: No such file or directory" for name in CERTIFICATE]
    assert (done.returncode, done.stderr.splitlines()) == (0, missing)
    assert done.stdout == f"{EXAMPLE}: valid: 4 listeners, 5 services, 9 backends\n"


def test_a_file_with_errors(tmp_path: Path) -> None:
    path = tmp_path / "lb.yaml"
    path.write_text("version: 2\nlistners: {}\n")
    lines = [f"{path}:1: version: 2 is not 1", f"{path}:2: listners: unknown key; did you mean listeners?"]
    done = lbctl("check", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == lines
    asked = lbctl("--json", "check", str(path))
    assert (asked.returncode, asked.stderr.splitlines()) == (2, lines)
    document = json.loads(asked.stdout)
    assert [error["line"] for error in document["errors"]] == [1, 2]
    assert not document["valid"]


def test_warnings_go_to_standard_error(tmp_path: Path) -> None:
    path = tmp_path / "lb.yaml"
    path.write_text("version: 1\nservices: {spare: {backends: [10.0.0.1:80]}}\n")
    done = lbctl("check", str(path))
    assert done.returncode == 0
    assert done.stderr == f"warning: {path}:2: services.spare: no listener names this service\n"


WRONG_USAGE = [
    (["chek"], "lbctl: there is no command 'chek'; did you mean check?"),
    (["--verbose"], "lbctl: No such option '--verbose'."),
    (["check", "a", "b"], "lbctl check: Got unexpected extra argument (b)"),
    (["weight", "web", "10.0.0.1:80", "-1"], "lbctl weight: "),
    (["apply", "--confirm", "soon", "lb.yaml"], "lbctl apply: Invalid value for '--confirm': 'soon' is not a duration"),
    (["explain", "tcp", "1.2.3.4:5"], "lbctl explain: Missing argument 'TARGET|URL'"),
]


@pytest.mark.parametrize(("arguments", "line"), WRONG_USAGE)
def test_wrong_usage(arguments: list[str], line: str) -> None:
    done = lbctl(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(line)


def test_the_schema_is_json() -> None:
    done = lbctl("schema")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["$defs"]["ListenerSchema"]["properties"]["bind"]["description"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    done = lbctl("completion", shell)
    assert done.returncode == 0
    assert "_LBCTL_COMPLETE" in done.stdout


def test_services_and_backends_in_force_complete(tmp_path: Path) -> None:
    (tmp_path / "applied.yaml").write_text(f"# lbctl: from {EXAMPLE}\n{EXAMPLE.read_text()}")
    asked = {"_LBCTL_COMPLETE": "bash_complete", "LBCTL_STATE_DIR": str(tmp_path)}
    services = lbctl(COMP_WORDS="lbctl drain p", COMP_CWORD="2", **asked)
    assert services.stdout.split() == ["plain,payments", "plain,ping"]
    backends = lbctl(COMP_WORDS="lbctl drain ping 10.0.2", COMP_CWORD="3", **asked)
    assert backends.stdout.split() == ["plain,10.0.2.2:8181"]
    nothing = lbctl(COMP_WORDS="lbctl drain p", COMP_CWORD="2", **asked | {"LBCTL_STATE_DIR": str(tmp_path / "none")})
    assert (nothing.returncode, nothing.stdout.split()) == (0, [])


def test_listeners_and_nodes_complete(tmp_path: Path) -> None:
    (tmp_path / "applied.yaml").write_text(f"# lbctl: from {EXAMPLE}\n{EXAMPLE.read_text()}")
    asked = {"_LBCTL_COMPLETE": "bash_complete", "LBCTL_STATE_DIR": str(tmp_path)}
    assert lbctl(COMP_WORDS="lbctl trace --listener a", COMP_CWORD="3", **asked).stdout.split() == ["plain,api"]
    nodes = lbctl(COMP_WORDS="lbctl lab exec server", COMP_CWORD="3", **asked)
    assert nodes.stdout.split() == ["plain,server1", "plain,server2", "plain,server3"]


@pytest.mark.parametrize(
    ("line", "replies"),
    [
        ("lbctl dr", ["drain"]),
        ("lbctl drain p", ["payments", "ping"]),
        ("lbctl drain ping ", ["10.0.1.2:8080", "10.0.2.2:8181"]),
        ("lbctl drain ping 10.0.2.2:", ["8181"]),
        ("lbctl drain ping 10.0.2.2:81", ["8181"]),
        ("lbctl drain ping 10.0.2.2:9", []),
        ("lbctl lab exec client ", []),
    ],
)
def test_bash_completes_what_is_before_the_cursor(line: str, replies: list[str], tmp_path: Path) -> None:
    """As bash asks: what it takes for the current word begins after the last colon."""
    (tmp_path / "applied.yaml").write_text(f"# lbctl: from {EXAMPLE}\n{EXAMPLE.read_text()}")
    command = tmp_path / "lbctl"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{LBCTL[2]}" "$@"\n')
    command.chmod(0o755)
    script = f"""
        complete() {{ :; }}; compopt() {{ :; }}
        {lbctl("completion", "bash").stdout}
        COMP_LINE="$1 and more" COMP_POINT=${{#1}}
        _lbctl_completion "$0"
        for each in "${{COMPREPLY[@]}}"; do echo "$each"; done"""
    environment = {**os.environ, "LBCTL_STATE_DIR": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-c", script, command, line], capture_output=True, text=True, check=False, env=environment
    )
    assert (done.stdout.split(), done.stderr) == (replies, "")


def test_a_closed_pipe_is_quiet() -> None:
    done = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$0" -c "$1" schema | head -1', sys.executable, LBCTL[2]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


def test_ctrl_c_is_quiet(tmp_path: Path) -> None:
    fifo = tmp_path / "lb.yaml"
    os.mkfifo(fifo)
    running = subprocess.Popen([*LBCTL, "check", str(fifo)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with fifo.open("w"):
        # Whoever opens the other end has come as far as reading the file.
        running.send_signal(signal.SIGINT)
        output, errors = running.communicate(timeout=60)
    assert (running.returncode, output, errors.strip()) == (130, "", "")


def test_no_traceback_for_a_device_that_is_full() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*LBCTL, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "lbctl: cannot write the output: No space left on device\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
def test_what_takes_root_says_so_first() -> None:
    for arguments in (["flush"], ["status"], ["apply", str(EXAMPLE)]):
        done = subprocess.run(
            [
                # Still the user root, who can read the checkout wherever it is, but without root's rights.
                "setpriv",
                "--inh-caps=-all",
                "--bounding-set=-all",
                *LBCTL,
                *arguments,
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=os.environ | {"LBCTL_RUN_DIR": "/nonexistent", "LBCTL_STATE_DIR": "/nonexistent"},
        )
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"lbctl {arguments[0]}: this takes root")


@pytest.mark.parametrize("words", [["check", "-"], ["export", "-"], ["--json", "export", "-"]])
def test_a_file_comes_by_standard_input(words: list[str], tmp_path: Path) -> None:
    text = (
        'version: 1\nlisteners: {a: {bind: "192.0.2.10:80", service: b}}\nservices: {b: {backends: ["10.0.0.1:80"]}}\n'
    )
    for given, status in ((text, 0), (text.replace("bind", "bnd"), 2)):
        done = subprocess.run(
            [*LBCTL, *words], input=given, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
        )
        assert done.returncode == status, done.stderr
        assert ("-:2: listeners.a.bnd: unknown key; did you mean bind?" in done.stderr) == (status == 2)


@pytest.mark.parametrize("words", [["check"], ["export"], ["plan"], ["apply"], ["import", "envoy"], ["run"]])
def test_what_cannot_be_read_is_said_alike(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"version: 1\n# \xff\n")
    (tmp_path / "huge").write_bytes(b"#" * (64 * 1024 * 1024 + 1))
    said = {
        "latin": "latin:2: the file is not UTF-8 text",
        "huge": "huge: larger than 64 MiB",
        "none": "none: cannot be read: No such file or directory",
        ".": ".: cannot be read: Is a directory",
    }
    places = {f"LBCTL_{name}_DIR": str(tmp_path / name) for name in ("RUN", "STATE")}
    for name, line in said.items():
        done = subprocess.run(
            [*LBCTL, *words, name],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | places,
            timeout=60,
            check=False,
        )
        if "takes root" not in done.stderr:
            assert (done.returncode, done.stderr) == (2, f"{line}\n")


def test_a_closed_standard_output_is_no_traceback() -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *LBCTL, "schema"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_completion_script_as_json() -> None:
    document = json.loads(lbctl("--json", "completion", "bash").stdout)
    assert document["shell"] == "bash"
    assert document["script"] + "\n" == lbctl("completion", "bash").stdout
