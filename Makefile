# `make` lists the targets. The environment is .venv, made with venv and pip from $(PYTHON).
PYTHON ?= python3
BIN := .venv/bin
DEMO := runs/demo
LOWEST := tests/spec/test_spec_read.py tests/train/test_train_cli.py tests/tables/test_table_chain.py \
	tests/runtime/test_runtime_cli.py tests/serving/test_serving_answers.py tests/sweep/test_sweep_space.py

.DEFAULT_GOAL := help
.PHONY: help env demo test test-slow nightly peers lowest bench coverage check format docs site web-runtime clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

env: .venv/dev  ## Make .venv with everything that development needs

demo: .venv/train  ## Train, compare, export and verify glow-digits; minutes
	@rm -rf $(DEMO)
	$(BIN)/flowkit train specs/glow-digits.yaml -o $(DEMO)
	$(BIN)/flowkit evaluate $(DEMO)
	$(BIN)/flowkit export $(DEMO) -o $(DEMO)/onnx --web
	$(BIN)/flowkit verify $(DEMO)/onnx
	@echo
	@echo "Look at $(DEMO)/samples.png      samples beside real digits"
	@echo "        $(DEMO)/loss.png         the loss over the epochs"
	@echo "        $(DEMO)/onnx/index.html  the model in a browser: it needs no network"
	@echo "        $(DEMO)/onnx/            both directions as ONNX graphs"

test: .venv/dev  ## Run the fast tests
	$(BIN)/pytest -n auto --dist worksteal -m "not slow"

test-slow: .venv/dev  ## Run the tests that train and export at length
	$(BIN)/pytest -n auto --dist worksteal -m slow --ignore tests/peers tests/test_site.py tests/test_docs.py tests/test_*.py tests  # the longest first

nightly: .venv/dev .venv-peers/ready  ## Run all tests with every seed and opset, and 31,000 random specs; hours, and 6 GB
	FLOWKIT_NIGHTLY=1 $(BIN)/pytest -n auto --dist worksteal tests/fuzz tests/zoo tests  # the longest first

peers: .venv/dev .venv-peers/ready  ## Compare layers with those of nflows, normflows, FrEIA and zuko
	$(BIN)/pytest tests/peers

lowest: .venv-lowest/ready  ## Run some tests with the lowest versions of the dependencies that pyproject.toml allows
	.venv-lowest/bin/python -m pytest -m "not slow" $(LOWEST)

bench: .venv-bench/ready  ## Time flowkit beside its peers and the limit; half an hour, and nothing else should run
	.venv-bench/bin/python -m benchmarks --docs docs

coverage: .venv/dev  ## Run the fast tests and say which lines they miss
	$(BIN)/pytest -n auto --dist worksteal -m "not slow" --cov --cov-report=term-missing:skip-covered

check: .venv/dev  ## Lint, formatting, types, layers, docstrings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.docstrings
	test ! -x $(BIN)/hadolint || $(BIN)/hadolint runtime/Dockerfile

format: .venv/dev  ## Format the code and mend what the linter can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

web-runtime: .venv/dev  ## Get the pinned onnxruntime-web, which exported pages hold, again from npm
	$(BIN)/python -c "from flowkit.export.web import vendored; vendored.renew()"

docs: .venv/dev  ## Write anew what is generated in docs/
	$(BIN)/python docs/reference.py
	$(BIN)/python docs/conformance.py
	$(BIN)/python -m tests.peers.page
	$(BIN)/python docs/gallery.py

site: .venv/dev  ## Build the documentation site into build/site: open build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

clean:  ## Remove the environments and what was built
	rm -rf .venv .venv-peers .venv-bench .venv-lowest build dist *.egg-info .coverage* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

.venv/train: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[train]'
	touch $@

.venv/dev: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@ .venv/train

.venv-peers/ready: tests/peers/requirements.txt
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --requirement tests/peers/requirements.txt
	touch $@

# torch is that of the package index: older ones have no wheels for each platform.
.venv-lowest/ready: pyproject.toml tests/lowest.py
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	$(PYTHON) tests/lowest.py > .venv-lowest/constraints.txt
	.venv-lowest/bin/pip install --quiet --constraint .venv-lowest/constraints.txt --editable '.[train,serve,sweep]' \
		pytest pandas hypothesis jsonschema
	touch $@

.venv-bench/ready: benchmarks/requirements.txt pyproject.toml
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --requirement benchmarks/requirements.txt --editable .
	touch $@
