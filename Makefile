# make demo and make test are all a newcomer needs; everything lives in .venv

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO ?= runs/demo

# how packages of the system are installed, if any is missing
SUDO ?= $(shell [ "$$(id -u)" = 0 ] || echo sudo)

# processes the tests are shared out to
WORKERS ?= 2
# small tensors lose time on many threads
export OMP_NUM_THREADS ?= 2

.PHONY: install browser demo test lint claims evidence peers

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[get,web,dev,data]'
	touch $@

demo: install
	$(BIN)/pellucid get smollm2
	$(BIN)/pellucid demo --out $(DEMO)

# the explorer's tests drive a real browser
browser:
	command -v chromium >/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends chromium; }

test: install browser
	$(BIN)/pellucid get smollm2
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(PYTEST)

lint: install
	$(BIN)/ruff check src tests $(wildcard benchmarks examples)
	$(BIN)/ruff format --check src tests $(wildcard benchmarks examples)
	$(BIN)/mypy
	$(BIN)/lint-imports

claims: install
	$(BIN)/pellucid get smollm2
	$(BIN)/python tests/claims/tally.py

evidence: install
	$(BIN)/pellucid get smollm2
	$(BIN)/python -m pytest -q -m evidence $(PYTEST)

peers:
	$(PYTHON) benchmarks/peers/install.py
