# The commands that matter: `make demo`, `make test`, `make serve`. All set up .venv first if requirements.lock or pyproject.toml changed.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
export RAY_USAGE_STATS_ENABLED := 0
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false

.PHONY: help demo test audit serve docs wheel lock clean

help:  ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: $(STAMP)  ## run what is stale of the demo, then show its table and where the report is
	@$(BIN)/dotfield run demo

test: $(STAMP)  ## lint, format, import layers, types, and all tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

audit: $(STAMP)  ## known vulnerabilities of the pinned packages; fails without an answer for each of them
	@$(BIN)/python .ci/audit.py

serve: $(STAMP)  ## scheduled runs: a local server, its worker and the deployments of prefect.yaml, until Ctrl-C
	@$(BIN)/python -m flows.serve

docs: $(STAMP)  ## build the documentation into build/docs; a warning or a broken link is an error
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --fresh-env --nitpicky docs build/docs
	@echo "build/docs/index.html"

wheel: $(STAMP)  ## build the wheel, install it into an empty environment, and use it outside this folder
	@set -e; room=$$(mktemp -d); trap 'rm -rf "$$room"' EXIT; \
	$(BIN)/pip wheel -qq --disable-pip-version-check --no-deps --wheel-dir "$$room" .; \
	$(PYTHON) -m venv "$$room/venv"; \
	"$$room/venv/bin/pip" install -qq --disable-pip-version-check --constraint requirements.lock "$$room"/*.whl; \
	cd "$$room"; unset PYTHONPATH; \
	venv/bin/dotfield --version; \
	venv/bin/dotfield --help > /dev/null; \
	venv/bin/dotfield kinds; \
	venv/bin/python -c "import dotfield, numpy; print(dotfield.load().count(numpy.zeros((96, 128, 3), numpy.uint8)))"

lock:  ## make requirements.lock anew from pyproject.toml, in an environment of its own
	@set -e; room=$$(mktemp -d); trap 'rm -rf "$$room"' EXIT; \
	$(PYTHON) -m venv "$$room"; \
	"$$room/bin/pip" install -qq '.[dev,docs]'; \
	{ sed -n '/^#/p' requirements.lock; \
	  "$$room/bin/pip" freeze --exclude dotfield | sed 's/+.*//' | grep -Ev '^(nvidia-[^m]|cuda|triton)' | LC_ALL=C sort -f; \
	} > "$$room/lock"; \
	cp "$$room/lock" requirements.lock

clean:  ## remove the environment and every result; DVC's cache stays, from which the next run restores them
	rm -rf .venv out build .dotfield .pytest_cache .ruff_cache .mypy_cache .import_linter_cache

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "$(PYTHON) must be Python 3.11 or newer with its venv module (Debian: apt install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -qq --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install -qq --disable-pip-version-check --no-deps --editable .
	@touch $@
