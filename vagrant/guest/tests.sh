#!/bin/bash
# In a guest of vagrant/image.sh, as root: the tests named, on its kernel, of the sources in /src.
set -euo pipefail
export PATH=/opt/venv/bin:/usr/sbin:/usr/bin:/sbin:/bin
cd /src
for module in nf_tables nft_queue nft_flow_offload nf_conntrack nf_conntrack_netlink nfnetlink_queue; do modprobe "$module"; done
# Emulated, everything takes ten times as long; what a test waits for still has to come.
exec timeout 3000 python -B -m pytest -p no:cacheprovider -o timeout=900 -q --durations=10 "$@"
