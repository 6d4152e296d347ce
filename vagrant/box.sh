#!/bin/bash
# Packs .vm/rootfs as a Vagrant box for libvirt: .vm/lbctl.box. A disk that is one file system, kernel and initrd beside it.
set -euo pipefail
cd "$(dirname "$0")/.."

[ .vm/lbctl.box -nt .vm/rootfs.sum ] && [ .vm/lbctl.box -nt vagrant/box.sh ] && exit 0
box=.vm/box
rm -rf $box .vm/lbctl.box
mkdir -p $box
trap 'rm -rf "$box" .vm/raw.img' EXIT

# The well-known key of the vagrant package: Vagrant's way into a new machine.
key=$(find / -xdev -path '*/vagrant-*/keys/vagrant.pub' -print -quit 2>/dev/null)
install -d -m 700 -o 1000 -g 1000 .vm/rootfs/home/vagrant/.ssh
install -m 600 -o 1000 -g 1000 "$key" .vm/rootfs/home/vagrant/.ssh/authorized_keys

truncate -s 8G .vm/raw.img
mke2fs -q -t ext4 -L root -m0 -E lazy_itable_init=1,lazy_journal_init=1 -d .vm/rootfs .vm/raw.img
qemu-img convert -O qcow2 -c -o compression_type=zstd .vm/raw.img $box/box.img
cp .vm/vmlinuz .vm/initrd $box/
echo '{"provider": "libvirt", "format": "qcow2", "virtual_size": 8}' > $box/metadata.json
cat > $box/Vagrantfile <<'RUBY'
Vagrant.configure("2") do |config|
  config.vm.provider :libvirt do |libvirt|
    libvirt.kernel = File.expand_path("vmlinuz", __dir__)
    libvirt.initrd = File.expand_path("initrd", __dir__)
    libvirt.cmd_line = "console=ttyS0 root=/dev/vda rw net.ifnames=0"
  end
end
RUBY
tar -C $box -cf .vm/lbctl.box metadata.json Vagrantfile box.img vmlinuz initrd
