# In the guest: the tests named in /share/tests, on this kernel.
uname -r > /share/kernel
mkdir -p /src && tar -xf /share/source.tar -C /src && cd /src
for module in nf_tables nft_queue nft_flow_offload nf_conntrack nf_conntrack_netlink nfnetlink_queue; do modprobe "$module"; done
# Emulated, everything takes ten times as long; what a test waits for still has to come.
timeout 3000 /opt/venv/bin/python -m pytest -p no:cacheprovider -o timeout=900 -q --durations=10 $(cat /share/tests) \
    --junitxml=/share/report.xml 2>&1 | tee /share/pytest.log
exit "${PIPESTATUS[0]}"
