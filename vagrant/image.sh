#!/bin/bash
# Makes .vm/rootfs: Debian 12 with its stock kernel, what lbctl and its tests need, and their Python packages, so that a
# guest needs no network. Usage: vagrant/image.sh. Takes root and mmdebstrap. Kept until what it is made of changes.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
    linux-image-amd64 systemd systemd-sysv systemd-resolved udev dbus libpam-systemd kmod initramfs-tools zstd
    openssh-server sudo rsync make ca-certificates
    python3 python3-venv python3-dev gcc libc6-dev libnetfilter-queue-dev
    nftables iptables iproute2 procps openssl curl ipvsadm iputils-ping
)
sum=$(cat vagrant/image.sh vagrant/guest/{80-dhcp.network,lab-init,initramfs-modules} requirements*.lock | sha256sum | cut -d" " -f1)
if [ "$(cat .vm/rootfs.sum 2>/dev/null)" = "$sum" ]; then exit 0; fi

echo "Fetching the Python packages"
rm -rf .vm/rootfs .vm/rootfs.sum .vm/wheels .vm/box.img
mkdir -p .vm/wheels
fetch() {
    .venv/bin/pip download -q --disable-pip-version-check --no-deps -d .vm/wheels --implementation cp --python-version 3.11 \
        --platform manylinux_2_34_x86_64 --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 "$@"
}
fetch --require-hashes -r requirements.lock
fetch wheel packaging cython # what builds the one that comes as source, and is looked for by name alone

echo "Making the root file system"
hook=()
copy() { hook+=("--customize-hook=copy-in vagrant/guest/$1 $2"); }
run() { hook+=("--customize-hook=$1"); }

copy 80-dhcp.network /etc/systemd/network
copy lab-init /usr/local/sbin
run 'chmod 755 "$1/usr/local/sbin/lab-init"'
run 'mkdir "$1/opt/wheels" "$1/src" "$1/share"'
run 'cp .vm/wheels/* "$1/opt/wheels/"'
run 'printf "[global]\nno-index = true\nfind-links = /opt/wheels\n" > "$1/etc/pip.conf"'
run 'cp requirements.lock "$1/opt/requirements.lock"'
run 'chroot "$1" python3 -m venv /opt/venv'
run 'env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$1" /opt/venv/bin/pip install -q --require-hashes -r /opt/requirements.lock'
# What `make install` makes first, by the same locks: under emulation it takes minutes, and is the same each time.
run 'cp requirements-run.lock "$1/opt/"; sed -n "/^setuptools==/,/# via/p" requirements.lock > "$1/opt/build.lock"'
run 'chroot "$1" python3 -m venv /usr/local/lib/lbctl; cp requirements-run.lock "$1/usr/local/lib/lbctl/requirements.lock"'
run 'env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$1" /usr/local/lib/lbctl/bin/pip install -q --require-hashes \
    -r /opt/requirements-run.lock -r /opt/build.lock'
run 'echo /src > "$1/opt/venv/lib/python3.11/site-packages/lbctl.pth"'
run 'printf "#!/opt/venv/bin/python\nfrom cli.main import main\n\nmain()\n" > "$1/opt/venv/bin/lbctl"; chmod 755 "$1/opt/venv/bin/lbctl"'
run 'chroot "$1" useradd -m -s /bin/bash vagrant'
run 'echo "vagrant ALL=(ALL) NOPASSWD: ALL" > "$1/etc/sudoers.d/vagrant"; chmod 440 "$1/etc/sudoers.d/vagrant"'
run 'printf "UseDNS no\nGSSAPIAuthentication no\n" > "$1/etc/ssh/sshd_config.d/lab.conf"'
run 'chroot "$1" systemctl -q enable systemd-networkd systemd-resolved ssh serial-getty@ttyS0'
run 'chroot "$1" systemctl -q mask systemd-networkd-wait-online.service apt-daily.timer apt-daily-upgrade.timer \
    e2scrub_all.timer e2scrub_reap.service ipvsadm.service getty@tty1.service fstrim.timer'
run 'ln -sf ../run/systemd/resolve/stub-resolv.conf "$1/etc/resolv.conf"'
run 'echo lbctl > "$1/etc/hostname"; printf "127.0.0.1 localhost\n127.0.1.1 lbctl\n::1 localhost\n" > "$1/etc/hosts"'
run 'echo "/dev/vda / ext4 noatime,errors=remount-ro 0 1" > "$1/etc/fstab"'
run 'echo uninitialized > "$1/etc/machine-id"'
# So that a kernel finds its root on a disk of its own and on a folder of the host alike.
hook+=("--essential-hook=mkdir -p \"\$1/etc/initramfs-tools\"")
hook+=("--essential-hook=cp vagrant/guest/initramfs-modules \"\$1/etc/initramfs-tools/modules\"")
hook+=("--essential-hook=mkdir -p \"\$1/etc/initramfs-tools/conf.d\"; echo MODULES=list > \"\$1/etc/initramfs-tools/conf.d/lab\"")

mmdebstrap --quiet --mode=root --variant=minbase --format=directory \
    --include="$(IFS=,; echo "${packages[*]}")" "${hook[@]}" bookworm .vm/rootfs
cp .vm/rootfs/boot/vmlinuz-* .vm/vmlinuz
cp .vm/rootfs/boot/initrd.img-* .vm/initrd
echo "$sum" > .vm/rootfs.sum
