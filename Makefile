# On a fresh machine: `make demo` sets everything up and runs the main job, `make test` sets everything up and tests it.
# `make fast` tests within a minute, on 2 cores, what decides, evaluates, reads and remembers; nothing is trained.
# `make soak MINUTES=20` sends runs through faults of every kind and prints what they survived.
# `make mission` plays the strategy document's commands on a stand-in for its author's situation and checks what it says.
# `make fuzz MINUTES=10` hands hostile files to each reader for as long and prints what became of them.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
MINUTES ?= 20

.PHONY: demo rfdetr-smoke test fast mission soak fuzz lint clean

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

$(VENV)/.rfdetr: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[rfdetr]"
	touch $@

demo/rfdetr_frames: | $(VENV)/.runtime
	$(BIN)/smallsight synth demo/rfdetr_frames --images 30 --size 192x108 --seed 1

rfdetr-smoke: $(VENV)/.rfdetr demo/rfdetr_frames
	$(BIN)/smallsight optimize --config configs/rfdetr_smoke.yaml --strategy strategies/smoke.yaml --output-dir demo/rfdetr_run

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

FAST = tests/config tests/data tests/evaluation tests/run tests/strategy tests/test_architecture.py tests/test_boxes.py \
  tests/test_docs.py tests/test_files.py tests/test_records.py tests/test_rng.py

fast: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow" $(FAST)

soak: $(VENV)/.dev
	cd tests && OMP_NUM_THREADS=1 ../$(BIN)/python -m faults.soak --minutes $(MINUTES)

mission: $(VENV)/.dev
	cd tests && ../$(BIN)/python -m mission ../demo/mission

fuzz: MINUTES = 10
fuzz: $(VENV)/.dev
	cd tests && OMP_NUM_THREADS=1 ../$(BIN)/python -m hostile.fuzz --minutes $(MINUTES)

clean:
	rm -rf $(VENV) demo build dist src/*.egg-info
