# What the machines of both Vagrantfiles have in common, for libvirt, VirtualBox and VMware.
module Machine
  SOURCES = File.expand_path("..", __dir__)

  def self.describe(config, memory:, processors:)
    config.vm.box = ENV.fetch("LBCTL_BOX", "debian/bookworm64")
    config.vm.box_check_update = false
    config.vm.guest = :debian
    config.vm.boot_timeout = 900
    config.ssh.connect_timeout = 30
    config.vm.provider :libvirt do |libvirt|
      libvirt.cpus = processors
      libvirt.memory = memory
      emulate(libvirt) if ENV["LBCTL_LIBVIRT_DRIVER"] == "qemu"
    end
    config.vm.provider :virtualbox do |virtualbox|
      virtualbox.cpus = processors
      virtualbox.memory = memory
    end
    config.vm.provider :vmware_desktop do |vmware, override|
      override.vm.box = ENV.fetch("LBCTL_BOX", "bento/debian-12")
      vmware.vmx["numvcpus"] = processors.to_s
      vmware.vmx["memsize"] = memory.to_s
    end
  end

  # libvirt where there is no KVM. The disk is thrown away with the machine, so that nothing waits for it to be written.
  def self.emulate(libvirt)
    libvirt.driver = "qemu"
    libvirt.graphics_type = "none"
    libvirt.video_type = "none"
    libvirt.disk_driver cache: "unsafe"
    libvirt.random model: "random"
  end

  # The checkout, as files of the machine's own: `vagrant provision` brings a change, which alone it would not.
  def self.sources(machine)
    machine.trigger.before :provision do |trigger|
      trigger.info = "Bringing the sources"
      trigger.ruby { |_, each| system("vagrant", "rsync", each.name.to_s) or raise "vagrant rsync failed" }
    end
    machine.vm.synced_folder ".", "/vagrant", disabled: true
    machine.vm.synced_folder SOURCES, "/opt/lbctl/src", type: "rsync",
      rsync__exclude: [".git/", ".venv/", ".vm/", "build/", "*.egg-info/", ".*_cache/", ".vagrant/"]
  end

  def self.wire(machine, network, host)
    machine.vm.network :private_network, ip: "#{network[:net]}.#{host}",
      libvirt__network_name: network[:name], libvirt__dhcp_enabled: false, libvirt__forward_mode: "none",
      virtualbox__intnet: network[:name]
  end
end
