#!/bin/bash
# A server of the lab: it answers on 8080, 8181 (HTTP) and 9000 (TCP and UDP echo), and says who it is and whom it saw.
set -euo pipefail
systemctl -q is-active lab-server && systemctl stop lab-server
systemd-run -q --unit=lab-server --working-directory=/opt/lbctl/src \
    python3 -m cli.lab.server --name "$(hostname)" --http 8080 --http 8181 --tcp 9000 --udp 9000
