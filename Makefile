# Everything a person needs on a machine with git, make and Python 3.11+ (with venv).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
# Processes that run tests; 0: this one.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
# The index to take torch from, for another build than the default (see pytorch.org/get-started).
TORCH_INDEX ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-kernels test-slow test-processes test-all test-gpu test-oldest test-newest test-long lint format typecheck bench notebooks docs lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than 3.11: choose another with make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing PyTorch, then the rest: minutes, and on Linux some gigabytes (make setup TORCH_INDEX=URL: a CPU build)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

setup: $(VENV)/.installed ## make the environment in .venv with the tested versions

demo: setup ## fetch MovieLens-100K and SmolLM2-135M, train CoRA, print what came out (ten minutes on two cores)
	$(BIN)/python -m recsys_lora.run experiment=demo $(ARGS)

test: setup ## the tests, with tiny models
	$(PYTEST) -m 'not slow and not network and not gpu' $(ARGS)

# What must hold on any processor, without what takes long and has no kernel of its own.
CONTRACTS := tests/test_rounding.py tests/cf/test_contract.py tests/lowrank/test_layer.py tests/lowrank/test_acts_at.py \
	tests/llm/test_attention.py tests/llm/test_backbone.py tests/llm/test_likelihood.py \
	tests/methods/cora/test_module.py tests/methods/test_answers.py tests/methods/ckf/test_module.py \
	-m 'not slow and not network and not gpu' -k 'not learns and not compiled and not shuffled'
TRAINED := tests/methods/test_contract.py::test_scores_do_not_depend_on_batch_mates[cora-20-right]
SSE := ATEN_CPU_CAPABILITY=default MKL_ENABLE_INSTRUCTIONS=SSE4_2 ONEDNN_MAX_CPU_ISA=SSE41
AVX2 := ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2

test-kernels: setup ## the contract tests as older x86 processors compute them, on one thread and on four
	$(SSE) OMP_NUM_THREADS=1 $(PYTEST) '$(TRAINED)' $(CONTRACTS)
	$(AVX2) OMP_NUM_THREADS=4 OMP_WAIT_POLICY=passive $(PYTEST) $(CONTRACTS)

test-slow: setup ## what takes minutes and fetches nothing: several processes, runs that are killed, notebooks
	$(PYTEST) -m 'slow and not network and not gpu' $(ARGS)

# One job of each kind: killed at every stage, on two processes, on three with checkpointed blocks and several tasks, one
# that loses a process, one started from outside, a spread backbone. test-slow has all.
PROCESSES := every_stage or (training_and_scoring and two) or checkpointed_blocks or falls or outside_make or whole_one

test-processes: setup ## of test-slow: jobs on several processes and under kills, one of each kind
	$(PYTEST) tests/pipeline -m 'slow and not network and not gpu' -k '$(PROCESSES)' $(ARGS)

test-all: setup ## all tests, with the README's commands and real fetches into an empty cache
	$(PYTEST) $(ARGS)

test-gpu: setup ## four minutes on a GPU: every row of the tables, every knob that depends on the device, one table
	$(BIN)/python -m tests.on_device $(ARGS)

# What an old or new release of a library breaks: configs, checkpoints, exact resume, backbones, scores, downloads, a
# whole job.
VERSIONS := tests/config/test_edge.py tests/config/test_recorded.py tests/config/test_trust.py \
	tests/callbacks/test_resume.py tests/callbacks/test_checkpoint.py tests/llm/test_backbone.py \
	tests/lowrank/test_layer.py tests/data/test_prepare.py tests/pipeline/test_first_stage.py tests/assets/test_source.py \
	-m 'not slow and not network and not gpu'
TORCH ?= torch==2.6.0
TESTERS := pytest pytest-timeout pytest-xdist pyarrow scikit-learn peft hypothesis

test-oldest: ## the contract tests with the lowest versions that pyproject.toml allows, in an environment of their own
	$(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) $(TORCH) -r tests/oldest.txt $(TESTERS)
	PYTHONPATH="$(CURDIR)" $(VENV)-oldest/bin/python -m pytest -n $(WORKERS) $(VERSIONS) $(ARGS)

test-newest: ## the same with the newest versions that it allows, whatever constraints.txt says
	$(PYTHON) -m venv $(VENV)-newest
	$(VENV)-newest/bin/python -m pip install --quiet --disable-pip-version-check --upgrade $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) . $(TESTERS)
	PYTHONPATH="$(CURDIR)" $(VENV)-newest/bin/python -m pytest -n $(WORKERS) $(VERSIONS) $(ARGS)

test-long: setup ## an hour: kills at random moments, 100,000 fuzzed inputs, a soak, faults; prints counts
	$(BIN)/python -m tests.long $(ARGS)

lint: setup ## ruff: errors, style, docstrings, format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: setup ## mypy, strict
	$(BIN)/mypy

bench: setup ## the CPU benchmarks, a table each
	for script in benchmarks/[a-z]*.py; do $(BIN)/python $$script $(ARGS) || exit 1; done

notebooks: setup ## run the notebooks with the tiny model and store their outputs
	$(BIN)/jupytext --quiet --sync notebooks/[0-9]*.py
	$(BIN)/python notebooks/execute.py $(ARGS)

docs: setup ## build the site into build/docs/site; a broken link fails
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python -m website

lock: ## make uv.lock again, with the versions of constraints.txt (needs uv)
	uv lock $$(sed -n 's/^[^#]/-P &/p' constraints.txt)

clean: ## remove the environment and caches of tools
	rm -rf $(VENV) .ruff_cache .mypy_cache .pytest_cache build dist
