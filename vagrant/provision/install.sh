#!/bin/bash
# lbctl from the synced sources, its unit running. Also after a change of the sources.
set -euo pipefail
command -v make >/dev/null || { apt-get -qq update; DEBIAN_FRONTEND=noninteractive apt-get -qq -y install make; }
make -s -C /opt/lbctl/src install
systemctl enable -q lbctl
systemctl restart lbctl
lbctl --version
