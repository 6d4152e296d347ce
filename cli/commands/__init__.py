"""The commands of lbctl, one module each, and what `lbctl --help` says of them without importing any.

The rule: a command parses its arguments, has the operation done by its owner, and prints the document; a module is
imported only when its command is called.
"""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """The module of this package that a command is in, what is said of it in one line, and its heading.

    function: the command's name in the module, where it is not the command's own.
    """

    module: str
    summary: str
    heading: str
    function: str = ""


APPLY, SEE, OPERATE, TRY, FILES = "Bring into force", "See", "One backend", "Try out", "The configuration file"

COMMANDS: dict[str, Entry] = {
    "check": Entry("check", "Validate a file; touches nothing, needs no root.", FILES),
    "schema": Entry("schema", "Print the JSON Schema of the configuration file.", FILES),
    "plan": Entry("plan", "Show what `apply` would change, and which live flows it would touch.", APPLY),
    "apply": Entry("apply", "Bring a file into force in one atomic transaction.", APPLY),
    "confirm": Entry("apply", "Keep what `apply --confirm` brought into force.", APPLY),
    "rollback": Entry("apply", "Bring back what was in force before.", APPLY),
    "run": Entry("run", "Stay in the foreground: health checks, proxies, metrics, control socket.", APPLY),
    "flush": Entry("apply", "Remove all that lbctl put into the kernel, and nothing else.", APPLY),
    "status": Entry("status", "Show listeners, services and backends.", SEE),
    "top": Entry("top", "Show services and backends as a screen, with keys to drain and enable.", SEE),
    "flows": Entry("flows", "List the live flows with all four addresses.", SEE),
    "explain": Entry("explain", "Say what would happen to a packet or request, and why.", SEE),
    "events": Entry("events", "Show what changed, when and why.", SEE),
    "trace": Entry("trace", "Show live packets before and after the balancer.", SEE),
    "doctor": Entry("doctor", "Find what on this host would break balancing, with the fix.", SEE),
    "drain": Entry("admin", "Send no new flow to a backend; those it has live on.", OPERATE),
    "enable": Entry("admin", "Send new flows to a backend again.", OPERATE),
    "disable": Entry("admin", "Send no new flow to a backend, and end those it has.", OPERATE),
    "weight": Entry("admin", "Set the weight of a backend.", OPERATE),
    "import": Entry("import_envoy", "Print a static Envoy configuration as one of lbctl.", FILES, "import_"),
    "lab": Entry("lab", "A client, a balancer and three servers as network namespaces.", TRY),
    "demo": Entry("demo", "Play the article's scenes with real clients and servers.", TRY),
    "export": Entry("export", "Print the same balancing as an nft or iptables script.", FILES),
    "replay": Entry("replay", "Run a recorded capture through packet mode.", FILES),
    "completion": Entry("completion", "Print the completion script of a shell.", FILES),
}
"""By name, in the order of `lbctl --help`."""
