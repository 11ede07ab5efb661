# demo (KEEP=1, then stop) | test | check | fmt | bench are the whole manual.
PYTHON ?= python3
BIN := .venv/bin
KEEP ?=

.PHONY: demo stop test quick check fmt bench gallery clean
.DEFAULT_GOAL := demo

# Everything below needs this stamp: an environment of exactly the pinned versions.
.venv/ready: requirements.lock pyproject.toml
	@echo "setting up .venv (once, a few minutes)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || (echo "Python 3.11 or later is needed; set PYTHON=/path/to/python3.11"; exit 1)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --requirement requirements.lock
	@# pip would compile on one core; not to compile costs every process seconds where Python may write no bytecode.
	@$(BIN)/python -m compileall -qq -j 0 $(BIN)/../lib >/dev/null || true
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@# opencv-python draws windows and so wants libGL; a machine without it gets the same release without windows.
	@$(BIN)/python -c 'import cv2' 2>/dev/null || $(BIN)/python -m pip install --quiet --no-deps --force-reinstall opencv-python-headless==$$($(BIN)/python -c 'from importlib.metadata import version; print(version("opencv-python"))')
	@touch $@

demo: .venv/ready
	@$(BIN)/python -m jobs.demo $(if $(KEEP),--set keep=true)

stop: .venv/ready
	@$(BIN)/python -m jobs.demo --set stop=true

# One pool for all, types too: what waits for clusters and what computes fill each other's gaps.
test: .venv/ready
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

quick: .venv/ready
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

check: .venv/ready
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_architecture.py

fmt: .venv/ready
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: .venv/ready
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

# One sheet and one film of every edit; trains the model for it first, some 15 minutes of one core.
gallery: .venv/ready
	@$(BIN)/python -m benchmarks.edits.model
	@$(BIN)/python -m benchmarks.edits.gallery

clean:
	rm -rf .venv demo build *.egg-info
