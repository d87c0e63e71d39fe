# On a fresh machine, with only Python (3.11 or newer) and make:
#   make train   sets up .venv and trains a real model, four to ten minutes on two CPU cores
#   make test    sets up .venv and runs the tests
PYTHON ?= python3
BIN = .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: train test test-slow lint format clean

train: .venv/.train
	$(BIN)/assay train examples/instructions.py $(ARGS)

test: .venv/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" $(ARGS)

test-slow: .venv/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow $(ARGS)

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build *.egg-info

.venv/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Assay needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
		"Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "Setting up .venv (about a minute the first time) ..."
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.train: .venv/.python pyproject.toml
	@$(PIP) --editable .
	@touch $@

.venv/.dev: .venv/.python pyproject.toml
	@$(PIP) --editable '.[dev]'
	@touch $@ .venv/.train
