# On a fresh machine: `make demo` sets everything up and runs the main job, `make test` sets everything up and tests it.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test lint clean

$(VENV)/.runtime: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo/frames: | $(VENV)/.runtime
	$(BIN)/smallsight synth demo/frames --images 460 --seed 1

demo: $(VENV)/.runtime demo/frames
	$(BIN)/smallsight optimize --config configs/demo.yaml --strategy strategies/demo.yaml --output-dir demo/run --budget 5m

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

clean:
	rm -rf $(VENV) demo build dist src/*.egg-info
