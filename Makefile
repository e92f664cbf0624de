# Every target does its own set-up in a fresh clone: a virtual environment with the tested versions.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
OLDEST := .venv-oldest
OLDEST_TESTS := tests/test_trainer.py tests/test_trainer_evaluation.py tests/checkpointing/test_resume.py tests/cli/test_command.py
OLDEST_TESTS += $(addprefix tests/run/test_,inside_a_plan.py own_losses.py plan_progress.py)
OLDEST_TESTS += $(addprefix tests/setup/test_,best_metric.py heads.py)
OLDEST_TESTS += tests/benchmarks/test_compare_report.py tests/data/test_content_hash.py tests/publishing/test_push.py
OLDEST_TESTS += $(addprefix tests/modeling/test_,model.py peft.py saving.py)
OLDEST_TESTS += $(addprefix tests/reporting/test_,card_of_run.py page.py plots.py verdicts.py)
OLDEST_TESTS += $(addprefix tests/tasks/test_,hub.py reader_robustness.py task.py task_metrics.py tokenization.py)
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: demo test test-slow test-oldest lint docs compare-offline bench clean

demo: $(INSTALLED)
	HF_HUB_OFFLINE=1 $(BIN)/python run_glue_avil.py --demo --output_dir out/demo --disable_tqdm true

test: $(INSTALLED)
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

# More cases of properties that `make test` checks with few: long runs of kills, real launches, further settings.
test-slow: $(INSTALLED)
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m slow

# Tests that prove the lower bounds of the dependencies, with those versions.
test-oldest: $(OLDEST)/.installed
	HF_HUB_OFFLINE=1 $(OLDEST)/bin/python -m pytest -m "not slow and not distributed" $(OLDEST_TESTS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy hf_alphavil run_glue_avil.py

# The site, from docs/ and the docstrings, into out/site. A link that leads nowhere is an error.
docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# Stopped and started again, it goes on with the runs that are not finished. COMPARE_OPTIONS="--data_dir FOLDER"
compare-offline: $(INSTALLED)
	HF_HUB_OFFLINE=1 $(BIN)/python benchmarks/compare_methods.py offline_small $(COMPARE_OPTIONS) --output out/compare_offline --jobs 2

# Speed and memory beside their targets, in CPU time. Needs the official files: BENCH_OPTIONS="--data_dir FOLDER"
bench: $(INSTALLED)
	HF_HUB_OFFLINE=1 $(BIN)/python benchmarks/bench.py $(BENCH_OPTIONS) --jobs 2 --output out/bench

# Python compiles what is imported, once if it may keep that: to compile all that is installed takes pip longer than the rest.
INSTALL := -m pip install --quiet --no-compile
unexport PYTHONDONTWRITEBYTECODE

$(INSTALLED): pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python $(INSTALL) --constraint constraints.txt torch
	$(BIN)/python $(INSTALL) --constraint constraints.txt --editable ".[dev]"
	touch $@

$(OLDEST)/.installed: pyproject.toml setup.py constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python $(INSTALL) --constraint constraints-oldest.txt torch
	$(OLDEST)/bin/python $(INSTALL) --constraint constraints-oldest.txt --editable ".[peft,report]" pytest hypothesis
	touch $@

clean:
	rm -rf .venv $(OLDEST) out build dist *.egg-info
