# make run TOPIC="…" [DOCUMENTS=folder]: one research run, from nothing.   make serve: the server, left running.
# make studio [STUDIO_PORT=2024]: LangGraph's API and ours, for LangGraph Studio and langgraph_sdk.
# make test: all tests.   make check: ruff and mypy.   make lock: resolve the dependencies anew.
# make bench: all benchmarks, a JSON line each, in about eight minutes.
# make demo: a run is killed, comes back, is steered and reported, on one screen.   make pictures: those of the README.
# make audit: asks for known vulnerabilities of the locked packages.   make licences: writes docs/dependencies.md.
# make torture [KILLS=200] [SEED=1]: kills the server at random under running turns, and checks every promise.
# make soak [MINUTES=30] [SEED=1]: users, readers, a failing model and kills; memory, handles, disk and latency must not drift.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin

# As they were given: make would expand a dollar sign in them.
override TOPIC := $(value TOPIC)
override DOCUMENTS := $(value DOCUMENTS)
KILLS ?= 200
SEED ?= 1
MINUTES ?= 30
STUDIO_PORT ?= 2024

.PHONY: run demo serve studio pictures test bench torture soak check format openapi diagram lock audit licences clean

run: $(VENV)/.run
	@$(BIN)/research run --embedded $(if $(DOCUMENTS),--documents "$$DOCUMENTS") -- $(if $(TOPIC),"$$TOPIC")

demo: $(VENV)/.run
	@$(BIN)/research demo

serve: $(VENV)/.run
	@exec $(BIN)/python -m server

studio: $(VENV)/studio/.studio
	@exec env LANGGRAPH_NO_VERSION_CHECK=1 LANGGRAPH_CLI_NO_ANALYTICS=1 LANGSMITH_TRACING=false \
		$(VENV)/studio/bin/langgraph dev --no-browser --no-reload --n-jobs-per-worker 10 --port $(STUDIO_PORT)

test: $(VENV)/.dev $(VENV)/studio/.studio
	@$(BIN)/python -m pytest -n 2 tests/unit tests/integration
	@$(BIN)/python -m pytest -n 2 --dist worksteal --ignore=tests/acceptance/test_fencing.py tests/acceptance
	@$(BIN)/python -m pytest tests/acceptance/test_fencing.py

bench: $(VENV)/.dev
	@$(BIN)/python -m benchmarks

pictures: $(VENV)/.dev
	@$(BIN)/python -m tests.acceptance.pictures

torture: $(VENV)/.dev
	@$(BIN)/python -m tests.acceptance.torture --kills $(KILLS) --seed $(SEED)

soak: $(VENV)/.dev
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) --seed $(SEED)

check: $(VENV)/.dev
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: $(VENV)/.dev
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

# What the tests compare with the code: openapi.json and the diagram in docs/graph.md.
openapi: generated
generated: $(VENV)/.dev
	@$(BIN)/python -m server.openapi && $(BIN)/python -m graph.diagram

lock:
	@.ci/lock

audit: $(VENV)/.dev
	@$(BIN)/python -m requirements.audit

licences: $(VENV)/.dev
	@$(BIN)/python -m requirements.licences

clean:
	rm -rf $(VENV)

# The checkout itself comes last, editable: for the command `research`, from any folder. Nothing more is fetched for it.
$(VENV)/.%: requirements/%.txt pyproject.toml
	$(call install,$(VENV))
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .
	@touch $@

# An environment of its own: langgraph-api holds packages back that the tests need newer.
$(VENV)/studio/.%: requirements/%.txt
	$(call install,$(VENV)/studio)
	@touch $@

define install
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; none was found." >&2; exit 1; }
	@test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
	@echo "Installing the locked packages of $< …" >&2
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
endef

export TOPIC DOCUMENTS
