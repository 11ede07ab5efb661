# demo (KEEP=1, then stop) | test | check | fmt | bench are the whole manual.
BIN := .venv/bin
export PYTHON TORCH_INDEX ANYWAY
# Images of Python often set it: every process of a cluster would then compile the house again.
unexport PYTHONDONTWRITEBYTECODE
KEEP ?=

.NOTPARALLEL:
.PHONY: demo room stop test quick check fmt bench gallery clean
.DEFAULT_GOAL := demo

# Everything below needs this stamp: an environment of exactly the pinned versions.
.venv/ready: requirements.lock pyproject.toml infra/setup.sh
	@bash infra/setup.sh install

room:
	@bash infra/setup.sh machine 8 5

demo: room .venv/ready
	@$(BIN)/python -m jobs.demo $(if $(KEEP),--set keep=true)

stop: .venv/ready
	@$(BIN)/python -m jobs.demo --set stop=true

# One pool for all, types too: what waits for clusters and what computes fill each other's gaps (tests/conftest.py).
test: .venv/ready
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python -m pytest -n 2 --no-loadscope-reorder

quick: .venv/ready
	@$(BIN)/python -m pytest -n 2 -m "not slow"

check: .venv/ready
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_architecture.py

fmt: .venv/ready
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# Without a name, the list of them and what each takes.
bench: .venv/ready
	@$(BIN)/python -m benchmarks $(NAME) $(ARGS)

# One sheet and one film of every edit; trains the model for it first, some 15 minutes of one core.
gallery: .venv/ready
	@$(BIN)/python -m benchmarks.edits.model
	@$(BIN)/python -m benchmarks.edits.gallery

clean:
	rm -rf .venv demo build *.egg-info
