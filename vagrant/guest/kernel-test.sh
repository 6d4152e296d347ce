# In the guest of vagrant/kernel-test: the tests named in /share/tests.
uname -r > /share/kernel
mkdir -p /src && tar -xf /share/source.tar -C /src
bash /src/vagrant/guest/tests.sh $(cat /share/tests) 2>&1 | tee /share/pytest.log
exit "${PIPESTATUS[0]}"
