# make run TOPIC="…" [DOCUMENTS=folder]: one research run, from nothing.   make serve: the server, left running.
# make test: all tests.   make check: ruff and mypy.   make lock: resolve the dependencies anew.
# make bench: all benchmarks, a JSON line each, in about eight minutes.
# make demo: a run is killed, comes back, is steered and reported, on one screen.   make pictures: those of the README.
# make torture [KILLS=200] [SEED=1]: kills the server at random under running turns, and checks every promise.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin

# As they were given: make would expand a dollar sign in them.
override TOPIC := $(value TOPIC)
override DOCUMENTS := $(value DOCUMENTS)
KILLS ?= 200
SEED ?= 1

.PHONY: run demo serve pictures test bench torture check format lock clean

run: $(VENV)/.run
	@$(BIN)/research run --embedded $(if $(DOCUMENTS),--documents "$$DOCUMENTS") -- $(if $(TOPIC),"$$TOPIC")

demo: $(VENV)/.run
	@$(BIN)/research demo

serve: $(VENV)/.run
	@exec $(BIN)/python -m server

test: $(VENV)/.dev
	@$(BIN)/python -m pytest tests/unit tests/integration
	@$(BIN)/python -m pytest -n 2 --dist worksteal --ignore=tests/acceptance/test_fencing.py tests/acceptance
	@$(BIN)/python -m pytest tests/acceptance/test_fencing.py

bench: $(VENV)/.dev
	@$(BIN)/python -m benchmarks

pictures: $(VENV)/.dev
	@$(BIN)/python -m tests.acceptance.pictures

torture: $(VENV)/.dev
	@$(BIN)/python -m tests.acceptance.torture --kills $(KILLS) --seed $(SEED)

check: $(VENV)/.dev
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: $(VENV)/.dev
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

lock:
	@.ci/lock

clean:
	rm -rf $(VENV)

# The checkout itself comes last, editable: for the command `research`, from any folder. Nothing more is fetched for it.
$(VENV)/.%: requirements/%.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; none was found." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked packages of $< …" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .
	@touch $@

export TOPIC DOCUMENTS
