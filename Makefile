# Two commands set everything up: `make data` and `make test`.  Both need Python 3.11 or newer and
# make a virtual environment in .venv when it is missing.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: data test lint lock benchmark site clean

data: $(READY)  ## publish a release from the bundled extract, with no network
	$(BIN)/urban-migration refresh --offline

test: lint  ## linters, types and all tests
	$(BIN)/pytest -n auto --dist loadfile

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up .venv with the locked dependencies (a few minutes the first time) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q src flows
	@$(BIN)/python -m flows.server --prepare
	@touch $@

lock:  ## renew requirements.lock from pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links --extra dev pyproject.toml -o requirements.lock

benchmark: $(READY)  ## the product against a floor and a naive script; RAW=folder of a raw store
	$(BIN)/python benchmarks/run.py --raw $(or $(RAW),data/raw) --check

site: site/dist/manifest.json $(READY)  ## the static site of the latest release, in data/processed/site (needs Node 20)
	@test -e data/processed/latest || $(BIN)/urban-migration refresh --offline
	$(BIN)/urban-migration site

site/dist/manifest.json: site/package-lock.json site/build.mjs $(wildcard site/src/*.* site/src/pages/*.*)
	@command -v npm > /dev/null || { echo "The front end of the site is built by Node 20 or newer, with npm; nothing else needs it."; exit 1; }
	cd site && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build

clean:
	rm -rf .venv data/processed/* site/dist site/node_modules .mypy_cache .ruff_cache .pytest_cache
