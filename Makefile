# `make demo` and `make test` each work as the first command on a machine that has only Python (3.11 or newer) and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test coverage snapshots check format benchmark clean

demo: $(VENV)/.installed
	$(BIN)/facegender-tui --demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q

coverage: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q --cov

snapshots: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q tests/snapshots --snapshot-update

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet -e '.[benchmark]'
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .coverage* *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11: name a newer one, make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV); torch is several gigabytes, this takes some minutes"
	$(BIN)/python -m pip install --quiet -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV); torch is several gigabytes, this takes some minutes"
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@
