"""Layer 4: addresses, services, schedulers, the kernel's rules and the packet hook. Never imports lb7 or cli."""
