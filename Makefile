# `make` lists the targets. The environment is .venv, made with venv and pip from $(PYTHON).
PYTHON ?= python3
BIN := .venv/bin
DEMO := runs/demo

.DEFAULT_GOAL := help
.PHONY: help env demo test test-slow coverage check format clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

env: .venv/dev  ## Make .venv with everything that development needs

demo: .venv/train  ## Train, compare, export and verify glow-digits; minutes
	rm -rf $(DEMO)
	$(BIN)/flowkit train specs/glow-digits.yaml -o $(DEMO)
	$(BIN)/flowkit evaluate $(DEMO)
	$(BIN)/flowkit export $(DEMO) -o $(DEMO)/onnx
	$(BIN)/flowkit verify $(DEMO)/onnx
	@echo
	@echo "samples beside real digits   $(DEMO)/samples.png"
	@echo "loss curve                   $(DEMO)/loss.png"
	@echo "weights, spec, metrics       $(DEMO)/"
	@echo "ONNX, both directions        $(DEMO)/onnx/"

test: .venv/dev  ## Run the fast tests
	$(BIN)/pytest -n auto -m "not slow"

test-slow: .venv/dev  ## Run the tests that train and export at length
	$(BIN)/pytest -n auto -m slow

coverage: .venv/dev  ## Run the fast tests and say which lines they miss
	$(BIN)/pytest -n auto -m "not slow" --cov --cov-report=term-missing:skip-covered

check: .venv/dev  ## Lint, formatting, types, layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/dev  ## Format the code and mend what the linter can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:  ## Remove the environment and what was built
	rm -rf .venv build dist *.egg-info .coverage* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

.venv/train: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[train]'
	touch $@

.venv/dev: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@ .venv/train
