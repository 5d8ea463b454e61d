# Every target does its own set-up on a bare Debian 12: git, make, python3 >= 3.11 with venv.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
PY := $(VENV)/bin/python
LOCKED := $(VENV)/.locked
READY := $(VENV)/.ready
BENCH_VENV := .venv-bench
BENCH_READY := $(BENCH_VENV)/.ready
SR3_VENV := .venv-sr3
SR3_READY := $(SR3_VENV)/.ready
TESTS ?= tests
PYTEST := $(PY) -m pytest
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --quiet --custom-compile-command "make lock"

.PHONY: help setup demo test check static bench faults wheels lock clean test-machine bench-machine

help:  ## show this list
	@echo "Dray: make TARGET"
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS=$$'\t' read -r name text; do \
	    printf '  %-8s %s\n' "$$name" "$$text"; done

$(LOCKED): requirements-dev.lock scripts/make-venv scripts/find-python
	@scripts/make-venv $(VENV) requirements-dev.lock
	@touch $@

$(READY): $(LOCKED) pyproject.toml
	@echo "== installing dray into $(VENV)"
	@$(PY) -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(BENCH_READY): requirements-bench.lock scripts/make-venv scripts/find-python
	@scripts/make-venv $(BENCH_VENV) requirements-bench.lock
	@touch $@

$(SR3_READY): requirements-sr3.lock scripts/make-venv scripts/find-python
	@scripts/make-venv $(SR3_VENV) requirements-sr3.lock
	@touch $@

setup: $(READY)  ## make the virtual environment in .venv from the locked packages

test-machine: $(SR3_READY)
	@scripts/setup-test-machine

bench-machine:
	@scripts/setup-bench-machine

demo: $(READY)  ## see it work: a hot directory, a server killed in the middle, every file verified (KEEP=1 leaves it running)
	@KEEP='$(KEEP)' $(PY) scripts/demo.py

static: $(READY)
	@echo "== format and lint"
	@$(PY) -m ruff format --check --quiet . || { echo "run: $(PY) -m ruff format ." >&2; exit 1; }
	@$(PY) -m ruff check --quiet .
	@echo "== types"
	@$(PY) -m mypy
	@echo "== floors"
	@$(VENV)/bin/lint-imports --no-logo >$(VENV)/floors.log || { cat $(VENV)/floors.log; exit 1; }

check: static  ## format, lint, types, floors, sizes and unit tests: under a minute
	@echo "== architecture and unit tests"
	@$(PYTEST) tests/architecture tests/unit

test: static test-machine  ## everything that must pass: check, contract, integration, e2e, a slice of the faults (TESTS=path for less)
	@echo "== tests"
	@$(PYTEST) $(TESTS)

bench: $(READY) $(BENCH_READY) bench-machine  ## compare with curl, rclone and a tus server; CASE=name for one
	@echo "== benchmarks"
	@BENCH_PYTHON='$(CURDIR)/$(BENCH_VENV)/bin/python' $(PY) -m bench $(CASE)

faults: $(READY) test-machine  ## the fault scoreboard, CI counts; FULL=1 for the full ones
	@echo "== faults"
	@FULL='$(FULL)' $(PY) -m tests.faults

wheels: $(READY)  ## check that client-side dependencies have wheels for Windows and macOS (asks the package index)
	@PYTHON=$(PY) scripts/check-wheels

lock:  ## renew the lock files (UPGRADE=1 takes newer versions)
	@echo "== locking"
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH"; up='$(if $(UPGRADE),--upgrade)'; \
	$(LOCK) $$up pyproject.toml -o requirements.lock; \
	$(LOCK) $$up pyproject.toml --extra amqp --extra postgres --extra s3 --group dev -c requirements.lock -o requirements-dev.lock; \
	$(LOCK) $$up --group bench -o requirements-bench.lock; \
	$(LOCK) $$up --group sr3 -o requirements-sr3.lock

clean:  ## remove what the targets made
	rm -rf $(VENV) $(BENCH_VENV) $(SR3_VENV) .demo bench/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	    .import_linter_cache .schemathesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
