# make demo and make test are all a newcomer needs; everything lives in .venv

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO ?= runs/demo

# processes the tests are shared out to
WORKERS ?= 2
# small tensors lose time on many threads
export OMP_NUM_THREADS ?= 2

.PHONY: install demo test lint claims evidence peers

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[get,web,dev,data]'
	touch $@

demo: install
	$(BIN)/pellucid get smollm2
	$(BIN)/pellucid demo --out $(DEMO)

test: install
	$(BIN)/pellucid get smollm2
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadgroup $(PYTEST)

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
