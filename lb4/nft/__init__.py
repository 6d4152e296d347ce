"""What the kernel's nf_tables holds for lbctl: as a typed value, as nft text, as netlink messages."""
