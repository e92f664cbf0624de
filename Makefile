# Every target does its own set-up in a fresh clone: a virtual environment with the tested versions.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: demo test lint compare-offline clean

demo: $(INSTALLED)
	HF_HUB_OFFLINE=1 $(BIN)/python run_glue_avil.py --demo --output_dir out/demo --disable_tqdm true

test: $(INSTALLED)
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy hf_alphavil run_glue_avil.py

# Started again after it was stopped, it goes on with the runs that are not finished. DATA_DIR=folder replaces the preset's.
compare-offline: $(INSTALLED)
	HF_HUB_OFFLINE=1 $(BIN)/python benchmarks/compare_methods.py offline_small --output out/compare_offline --jobs 2 \
		$(if $(DATA_DIR),--data_dir $(DATA_DIR))

$(INSTALLED): setup.py constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv out build dist *.egg-info
