# One verb, one thing. `make demo` and `make test` set up what they need.
SHELL := /bin/bash
PYTEST_FLAGS ?=

HOSTS ?= 50
ONLY ?=
REPEAT ?= 2
GROWTH_FLAGS ?=
HISTORY_FLAGS ?=

.PHONY: bench endurance bench-history growth demo test torture check up setup machines-setup format

demo: setup
	@.venv/bin/upkeep demo

test: setup machines-setup check
	@tests/run $(PYTEST_FLAGS)

torture: setup machines-setup
	@.venv/bin/pytest -q -n "$${PYTEST_WORKERS:-2}" --dist loadgroup --durations 30 tests/torture $(PYTEST_FLAGS)

endurance: setup machines-setup
	@.venv/bin/pytest -q --durations 30 tests/endurance $(PYTEST_FLAGS)

check: setup
	@.venv/bin/ruff check --quiet . && .venv/bin/ruff format --quiet --check . && echo "ruff: clean"
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo 2>/dev/null || .venv/bin/lint-imports
	@.venv/bin/shellcheck -s sh $$(git ls-files '*.sh') && echo "shellcheck: clean"

bench: setup machines-setup
	@.venv/bin/python -m tests.bench --hosts '$(HOSTS)' --only '$(ONLY)' --repeat '$(REPEAT)'

bench-history: setup machines-setup
	@.venv/bin/python -m tests.bench.history $(HISTORY_FLAGS)

growth: setup machines-setup
	@.venv/bin/python -m tests.bench.growth $(GROWTH_FLAGS)

up: setup
	@.venv/bin/upkeep up

setup:
	@./setup.sh

machines-setup:
	@./setup.sh machines

format: setup
	@.venv/bin/ruff check --quiet --fix . ; .venv/bin/ruff format --quiet .
