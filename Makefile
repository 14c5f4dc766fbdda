# Every target works from a clean clone: it installs what it needs into .venv, once.

VENV := .venv
# Other people's clients of the server want other versions of packages than we do.
CLIENTS := .venv-clients
BIN := $(VENV)/bin

# pyenv's shims exist for versions that are not selected, so a candidate counts only when it runs.
IS_SUPPORTED := -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'
PYTHON ?= $(shell for candidate in python3.13 python3.12 python3.11 python3; do \
	"$$candidate" $(IS_SUPPORTED) 2>/dev/null && { echo "$$candidate"; break; }; done)

# Without these, glibc hands every large tensor back to the system and faults it in again each step.
export MALLOC_MMAP_THRESHOLD_ ?= 8589934592
export MALLOC_TRIM_THRESHOLD_ ?= 17179869184
# Threads that wait shall sleep: spinning makes steps many times slower while the machine has other work.
export GOMP_SPINCOUNT ?= 1000
export OMP_NUM_THREADS ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 1)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# pytest's exit code when nothing was left to run.
NO_TESTS_COLLECTED := 5

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo install test test-slow test-clients test-all check clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## Tune a prompt for the bundled model and show that it is better
	$(BIN)/tuningfork demo

install: $(VENV)/.installed-dev ## Install the package and the developer tools into .venv

test: $(VENV)/.installed-dev ## Run the tests, except the slow ones, one process a core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n $(OMP_NUM_THREADS) $(PYTEST_ARGS)

test-slow: $(VENV)/.installed-dev ## Run only the slow tests
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS) || test $$? -eq $(NO_TESTS_COLLECTED)

test-clients: $(VENV)/.installed-dev $(CLIENTS)/.installed ## Run the tests with other people's clients of the server
	TUNINGFORK_CLIENTS=$(CURDIR)/$(CLIENTS)/bin/python \
		$(BIN)/python -m pytest -m slow tests/serving/http/test_other_clients.py $(PYTEST_ARGS)

test-all: $(VENV)/.installed-dev ## Run every test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(VENV)/.installed-dev ## Lint, formatting, types, layers, and the examples in the documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --quiet tests/test_docs.py

clean: ## Remove .venv, caches and build output; runs and libraries stay
	rm -rf $(VENV) $(CLIENTS) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@"$(PYTHON)" $(IS_SUPPORTED) 2>/dev/null || { \
		echo "Error: Tuning Fork needs Python 3.11, 3.12 or 3.13; found $(or $(PYTHON),none of them on PATH)." >&2; \
		echo "       Install one and name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "Making $(VENV) with $(PYTHON)"
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); \
		echo "Error: $(PYTHON) could not make a virtual environment (on Debian: apt install python3-venv)." >&2; \
		exit 1; }

# Install requirement $(1) in its tested versions and stamp the target.
define install-into-venv
@echo "Installing $(1) into $(VENV) (a few minutes the first time)"
@$(BIN)/python -m pip install -qq --constraint constraints.txt --editable "$(1)"
@touch $@
endef

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(call install-into-venv,.)

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(call install-into-venv,.[dev])
	@touch $(VENV)/.installed

$(CLIENTS)/.installed: tests/serving/http/clients.txt | $(BIN)/python
	@echo "Installing other people's clients into $(CLIENTS)"
	@$(BIN)/python -m venv $(CLIENTS)
	@$(CLIENTS)/bin/python -m pip install -qq --requirement tests/serving/http/clients.txt
	@touch $@
