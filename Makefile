# Everything a developer, an operator or CI runs. `make` alone prints this list.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DEMO   := $(VENV)/.installed-demo

# Tests run in as many processes as there are processors; those with a cluster wait much, so in one more.
WORKERS ?= logical
CLUSTERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
FAST    := tests/unit tests/property tests/component tests/attack/test_6_states.py
REAL    := tests/integration tests/clients tests/attack

.DEFAULT_GOAL := help

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	@deploy/venv.sh "$(PYTHON)" $(VENV) dev

# What `make run` needs: rwsplit and an embedded PostgreSQL. A .venv with the development tools has it, too.
$(DEMO): pyproject.toml constraints.txt
	@deploy/venv.sh "$(PYTHON)" $(VENV) demo

setup: $(STAMP)  ## make .venv, with the development tools installed in it

run: $(DEMO)  ## an embedded primary + three replicas with rwsplit in front; Ctrl-C removes everything
	@exec $(BIN)/rwsplit demo $(ARGS)

format: $(STAMP)  ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(STAMP)  ## format, lint, imports, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/codespell README.md ARCHITECTURE.md CHANGELOG.md CONTRIBUTING.md rwsplit tests docs config

type: $(STAMP)  ## mypy --strict
	$(BIN)/mypy

check: lint type  ## lint, types, and the fast tests: green before every commit
	$(BIN)/python -m pytest -q -n $(WORKERS) $(FAST)

# The tests in FAST need no cluster, and the coverage gate goes by them: of all lines only what talks to kernels and nodes is left. The others run unmeasured.
test: $(STAMP)  ## every test, against a real primary and three streaming replicas, with the coverage gate
	@status=0; set -x; \
	$(BIN)/python -m pytest -q -n $(WORKERS) --cov --cov-report= $(FAST) || status=1; \
	$(BIN)/python -m tests.support.coverage_gate || status=1; \
	$(BIN)/python -m pytest -n $(CLUSTERS) --dist loadgroup $(REAL) || status=1; \
	exit $$status

test-clients: $(STAMP)  ## psycopg's and Django's own suites, from RWSPLIT_PSYCOPG_SOURCES and RWSPLIT_DJANGO_SOURCES
	$(BIN)/python -m tests.clients.suites psycopg $(ARGS)
	$(BIN)/python -m tests.clients.suites django $(ARGS)

soak: $(STAMP)  ## about an hour and a half of scripts, also under fire, and of histories, other ones each time, and 20 role changes
	RWSPLIT_FAULTS=all $(BIN)/python -m pytest -q tests/component/test_faults.py
	RWSPLIT_SCRIPTS=70000 $(BIN)/python -m pytest -s tests/integration/test_differential.py
	RWSPLIT_PARAMETER_SCRIPTS=10000 $(BIN)/python -m pytest -s tests/integration/test_parameter_scripts.py
	RWSPLIT_FIRE_SCRIPTS=1500 $(BIN)/python -m pytest -s tests/integration/test_under_fire.py
	RWSPLIT_GUARANTEES_SECONDS=400 $(BIN)/python -m pytest -s tests/integration/test_guarantees.py
	RWSPLIT_ROLE_CHANGES=20 $(BIN)/python -m pytest tests/integration/test_frozen.py -k role_changes

attack: $(STAMP)  ## tests/attack ten times as long as in `make test`, and five minutes each of the fuzzer of classification and of repeated words
	RWSPLIT_ATTACK_TIMES=10 $(BIN)/python -m pytest -s tests/attack tests/integration/test_login_storms.py
	$(BIN)/python -m tests.attack.fuzz_classification --seconds 300
	$(BIN)/python -m tests.attack.repeated_words --seconds 300

bench: $(STAMP)  ## rwsplit beside direct connections and the peers installed: tps, ratios, CPU per query
	$(BIN)/python -m tests.bench $(ARGS)

docs: $(STAMP)  ## regenerate docs/configuration.md, and the state tables in ARCHITECTURE.md
	$(BIN)/python -m rwsplit.config.reference > docs/configuration.md
	$(BIN)/python -m tests.support.state_tables

clean:  ## remove caches and build products (not .venv)
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* htmlcov build dist

.PHONY: help setup run format lint type check test test-clients soak attack bench docs clean
