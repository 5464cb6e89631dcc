# Every target sets up by itself: a virtual environment in .venv with everything pinned in requirements.lock.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MOVED := test_no_token_changes_although_hundreds_of_blocks_move
GPU_TESTS := "tests/engine/test_staged_writes.py::test_a_move_shares_no_buffer_with_a_write_that_is_not_read_yet[True]" "tests/engine/test_compaction.py::$(MOVED)[stock]"
VERSIONS := 0.30.0 0.31.0 0.33.0
VERSION_TESTS := tests/engine/test_features.py tests/engine/test_server.py tests/engine/test_pool.py tests/engine/test_compaction.py
MATRIX_TESTS := tests/engine/test_compaction.py tests/engine/test_staged_writes.py tests/engine/test_pool_reading.py tests/engine/test_server.py
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-quick test test-fast test-slow test-versions test-matrix coverage check bench lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.ready ## Make .venv with real vLLM for CPUs, GuideLLM, supervisor and the tools to check and test

$(VENV)/.ready: requirements.lock pyproject.toml
	@echo "setting up $(VENV): about 4 GB on disk, 2 to 5 minutes the first time"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --no-deps -r requirements.lock || { \
	  echo "If torch==…+cpu was not found: add PyTorch's index of CPU wheels to pip (PIP_EXTRA_INDEX_URL), then again."; \
	  exit 1; }
	@$(BIN)/python -m pip install -q --no-deps -e .
	@touch $@

demo: setup ## The whole thing on this machine's CPU, three repeats with their spread (12 minutes)
	$(BIN)/unfrag demo

demo-quick: setup ## The same with one repeat (4 minutes)
	$(BIN)/unfrag demo --quick

test: setup ## All tests, the ones on a real engine included, some of them with a GPU's defaults (19 minutes)
	$(BIN)/python -m tests.gpu_defaults v2 --async -q -n 2 --dist load $(GPU_TESTS)
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: setup ## What make test leaves out: kill points, faults of the guard, systemd, compose (two hours)
	$(BIN)/python -m pytest --slow -m slow

test-versions: setup ## The plugin on vLLM 0.30, 0.31 and 0.33 (20 minutes; 600 MB of wheels, environments of their own)
	@set -e; for version in $(VERSIONS); do \
	  python=$$($(BIN)/python tests/versions/environment.py $$version); echo "== vLLM $$version"; \
	  $$python -m pytest -q $(VERSION_TESTS); \
	done

test-matrix: setup ## Compaction, pool and server under Model Runner V1 and V2, with and without asynchronous scheduling (40 minutes)
	@set -e; for defaults in "v1 --async" "v2" "v2 --async"; do \
	  echo "== model runner $$defaults"; \
	  $(BIN)/python -m tests.gpu_defaults $$defaults -q --slow $(MATRIX_TESTS); \
	done

test-fast: setup ## Only the tests that start no server (6 minutes)
	$(BIN)/python -m pytest --ignore tests/engine --ignore tests/e2e

coverage: setup ## Which lines the tests that start no server run
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --ignore tests/engine --ignore tests/e2e --cov unfrag --cov-report term:skip-covered

check: setup ## ruff and mypy strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup ## Every number the README claims
	$(BIN)/python benchmarks/health_poll.py
	$(BIN)/python benchmarks/engine_cost.py
	$(BIN)/python benchmarks/diagnose_speed.py
	$(BIN)/python benchmarks/plan_rig.py
	$(BIN)/python benchmarks/pool.py --synthetic
	$(BIN)/python benchmarks/pool_cost.py
	$(BIN)/python benchmarks/compaction.py
	$(BIN)/python benchmarks/offload_copies.py
	$(BIN)/python benchmarks/expert_cache.py
	$(BIN)/python benchmarks/guard.py
	$(BIN)/unfrag demo

lock: ## Write requirements.lock anew from what is in .venv
	$(BIN)/python -m pip freeze --all | grep -v -E '^(pip|unfrag|-e |#|torchvision|torchaudio|torchcodec)' > requirements.lock

clean: ## Remove what the other targets made
	rm -rf $(VENV) .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis
