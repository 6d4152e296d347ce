#!/bin/bash
# The balancer among machines of their own: both layers, and forwarding allowed.
set -euo pipefail
cat > /etc/lbctl/lb.yaml <<'YAML'
version: 1
listeners:
  web: {bind: "10.77.0.10:80", service: web}
  echo: {bind: "10.77.0.10:9000", protocol: udp, service: echo}
  api:
    bind: "10.77.0.10:8080"
    mode: http
    auth: {header: Authorization}
    routes: [{match: {path: /ping}, service: ping}]
services:
  web:
    health: {type: http, path: /ping, every: 2s, timeout: 2s}
    backends: [10.77.1.21:8080, 10.77.1.22:8080]
  echo: {backends: [10.77.1.21:9000, 10.77.1.22:9000]}
  ping: {backends: [10.77.1.21:8080, 10.77.1.22:8181]}
YAML
lbctl doctor --fix
lbctl check /etc/lbctl/lb.yaml
systemctl restart lbctl
lbctl status
