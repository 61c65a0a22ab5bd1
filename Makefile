# make demo    sets everything up and shows a live market
# make test    sets everything up, runs all checks and all tests
#
# Needs Python 3.11 or newer with venv, make, and Node 20 or newer with npm; nothing else.
# What is installed is remembered by the hash of the lock files, inside .venv and
# node_modules: a second run installs nothing again, a changed lock does.

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory
.PHONY: help tools install install-dev demo up test unit integration lint chaos chaos-short \
	fuzz fuzz-short bench bench-check clean

VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
export NPM_CONFIG_UPDATE_NOTIFIER := false
# A system is a dozen processes: without it each of them compiles all sources anew.
unexport PYTHONDONTWRITEBYTECODE

# The locks were made on 3.11. A name counts if it is new enough and can make a venv.
PYTHON ?= $(shell for name in python3.11 python3 python3.12 python3.13; do \
	$$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$name && break; done)

RUN_LOCKS := requirements/run.txt requirements/embedded.txt
DEV_LOCKS := $(RUN_LOCKS) requirements/dev.txt
NODE_LOCKS := package.json package-lock.json .npmrc
# The path too: a venv does not survive being moved.
stamp = $(shell { pwd; cat $(1); } | sha256sum | cut -c1-16)
RUN_STAMP := $(VENV)/.run-$(call stamp,$(RUN_LOCKS) pyproject.toml)
DEV_STAMP := $(VENV)/.dev-$(call stamp,$(DEV_LOCKS) pyproject.toml)
NODE_RUN_STAMP := node_modules/.run-$(call stamp,$(NODE_LOCKS))
NODE_DEV_STAMP := node_modules/.dev-$(call stamp,$(NODE_LOCKS))

help:
	@echo "make demo     set up, then show a live market (Ctrl-C ends it)"
	@echo "make up       set up, then serve until Ctrl-C"
	@echo "make test     set up, then all checks and all tests"
	@echo "make install  set up alone; install-dev adds tests and linters"
	@echo "make chaos    set up, then the fault suite (DURATION=900 SEED= OUT= QUOTE_PATH=replica)"
	@echo "make fuzz     set up, then random requests by the API's own document (CASES=5000 SEED=)"
	@echo "make bench    set up, then the gated ratios to peers (PARTS= ALTERNATIONS=12 FULL=1)"
	@echo "make bench-check  the same; fails on a loss that the interval confirms"
	@echo "make lint     format, lint, types, imports, tidiness"
	@echo "make clean    remove what was installed here (no data)"

tools:
	@if [ -z "$(PYTHON)" ]; then \
		found=$$(python3 --version 2>/dev/null || echo none); \
		if python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
		then echo "Python's venv is missing ($$found); install it, on Debian: apt install python3-venv." >&2; \
		else echo "Python 3.11 or newer is needed, found: $$found." >&2; fi; exit 1; fi
	@command -v node >/dev/null || { echo "Node.js 20 or newer is needed, found none." >&2; exit 1; }
	@node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)' || \
		{ echo "Node.js 20 or newer is needed, found $$(node --version)." >&2; exit 1; }
	@command -v npm >/dev/null || { echo "npm is needed, found none; it comes with Node.js 20." >&2; exit 1; }

install: tools $(RUN_STAMP) $(NODE_RUN_STAMP)

install-dev: tools $(DEV_STAMP) $(NODE_DEV_STAMP)

# The larger installation holds the smaller one.
$(RUN_STAMP): | tools
	@if [ -e $(DEV_STAMP) ]; then touch $@; else $(call pip_install,$(RUN_LOCKS)); fi

$(DEV_STAMP): | tools
	@$(call pip_install,$(DEV_LOCKS))

$(NODE_RUN_STAMP): | tools
	@if [ -e $(NODE_DEV_STAMP) ]; then touch $@; else $(call npm_install,--omit=dev); fi

$(NODE_DEV_STAMP): | tools
	@$(call npm_install,)

define pip_install
rm -f $(VENV)/.run-* $(VENV)/.dev-* && \
{ $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV); } && \
echo "Python packages are installed (the first time 300 MB are fetched) ..." && \
$(BIN)/python -m pip install -q --only-binary=:all: --require-hashes $(addprefix -r ,$(1)) && \
$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e . && touch $@
endef

define npm_install
echo "Node packages are installed (the first time 40 MB are fetched) ..." && \
npm ci $(1) --loglevel=error >/dev/null && touch $@
endef

demo: install
	@$(BIN)/risecurve demo

up: install
	@$(BIN)/risecurve up

test: lint unit integration chaos-short fuzz-short

# Two at a time, each with servers of its own; a file is never shared out. What starts whole systems
# runs alone.
TWO := -n 2 --dist loadfile

unit: install-dev
	@$(BIN)/python -m pytest tests/unit $(TWO)

integration: install-dev
	@$(BIN)/python -m pytest tests/integration tests/simulation $(TWO) --durations=10
	@$(BIN)/python -m pytest tests/e2e --durations=10

DURATION ?= 900
OUT ?= chaos-report.json

chaos: install-dev
	@$(BIN)/python -m tests.chaos --duration $(DURATION) $(if $(SEED),--seed $(SEED)) --out $(OUT)

chaos-short: install-dev
	@$(BIN)/python -m tests.chaos --short --seed $(or $(SEED),1) --out $(OUT)

CASES ?= 5000

fuzz: install-dev
	@$(BIN)/python -m tests.fuzz --cases $(CASES) --seed $(or $(SEED),1)

fuzz-short: install-dev
	@$(BIN)/python -m tests.fuzz --cases 600 --examples 3 --messages 300 --seed $(or $(SEED),1)

ALTERNATIONS ?= 12
BENCH = $(BIN)/python -m bench $(PARTS) --alternations $(ALTERNATIONS) $(if $(FULL),--full)

bench: install-dev
	@$(BENCH)

bench-check: install-dev
	@$(BENCH) --check

lint: install-dev
	@$(BIN)/python -m ruff format --check --quiet . || \
		{ echo "Some files are not formatted; run $(BIN)/ruff format ." >&2; exit 1; }
	@$(BIN)/python -m ruff check --quiet .
	@$(BIN)/python -m mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest tests/test_tidy.py

clean:
	rm -rf $(VENV) node_modules *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
