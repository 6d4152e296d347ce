#!/bin/sh
# Installs the system packages that are missing, by apt; where there is no apt, says which are missing.
# Usage: system-packages.sh PYTHON GROUP…   GROUP: run (what lbctl needs to be built), test, bench, kernel-test, vm-test
# Looks for what is used, not for package names: a second run, or a machine that has them from elsewhere, installs nothing.
set -eu

python=$1
shift
missing=""

need() { # need PACKAGE CONDITION…: the package, unless the condition holds
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
program() {
    command -v "$1" || [ -x "/usr/sbin/$1" ]
}
python_header() {
    "$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'
}
vagrant_plugin() {
    ls /usr/share/rubygems-integration/*/gems/vagrant-libvirt-* || ls -d ~/.vagrant.d/gems/*/gems/vagrant-libvirt-*
}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    if command -v "$python" >/dev/null; then
        echo "lbctl takes Python 3.11 or newer; $python is $("$python" -V 2>&1). Name another with: make PYTHON=…" >&2
        exit 1
    fi
    missing="$missing python3"
fi

for group in "$@"; do
    case $group in
        run)
            need python3-venv "$python" -c 'import venv, ensurepip'
            need python3-dev python_header
            need gcc program gcc
            need libc6-dev test -e /usr/include/stdio.h
            need libnetfilter-queue-dev test -e /usr/include/libnetfilter_queue/libnetfilter_queue.h
            ;;
        test)
            need nftables program nft
            need iptables program iptables-restore
            need iproute2 program ip
            need procps program ps
            need mount program mount
            need util-linux program setpriv
            need openssl program openssl
            need curl program curl
            need prometheus program promtool
            need systemd program systemd-analyze
            need nginx-light program nginx
            need nghttp2-client program h2load
            ;;
        bench)
            need nghttp2-client program h2load
            need iperf3 program iperf3
            need wrk program wrk
            need nginx-light program nginx
            need libnginx-mod-stream test -e /usr/lib/nginx/modules/ngx_stream_module.so
            need haproxy program haproxy
            need nftlb program nftlb
            ;;
        kernel-test)
            need mmdebstrap program mmdebstrap
            need debian-archive-keyring test -e /usr/share/keyrings/debian-archive-keyring.gpg
            need qemu-system-x86 program qemu-system-x86_64
            ;;
        vm-test)
            need qemu-utils program qemu-img
            need vagrant program vagrant
            need vagrant-libvirt vagrant_plugin
            need libvirt-daemon-system program libvirtd
            need libvirt-clients program virsh
            need dnsmasq-base program dnsmasq
            need rsync program rsync
            ;;
    esac
done

[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
    echo "These are missing, and there is no apt here to install them (names as in Debian):$missing" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "These are missing and take root to install: sudo apt-get install$missing" >&2
    exit 1
fi
echo "Installing$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
apt-get install -qq -y --no-install-recommends $missing >/dev/null 2>&1 ||
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends $missing >/dev/null; }
