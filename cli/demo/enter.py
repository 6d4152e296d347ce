"""`python -m cli.demo.enter PREFIX NODE COMMAND…`: becomes the command, in a node of the lab of that prefix.

The rule: it is a process of its own, since mounts and namespaces are entered for good.
"""

from __future__ import annotations

import sys

from cli.lab.place import become

if __name__ == "__main__":
    become(sys.argv[1], sys.argv[2], sys.argv[3:])
