PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp

.PHONY: venv test lint format demo docs bench clean

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt hatchling editables
	$(BIN)/python -m pip install --quiet --no-build-isolation -c constraints.txt -e '.[dev]'
	touch $@

test: lint  ## everything that must hold
	$(BIN)/python -m pytest -q

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: venv  ## draws its own table, learns from it, and says whether mixing the inputs paid
	$(BIN)/xmodal demo --out demo
	$(BIN)/xmodal fit demo/table.csv --target label --id id --split split --ignore mood --out demo/model --force
	$(BIN)/xmodal evaluate demo/model demo/table.csv --part test

docs: venv  ## the site, into site/; no network is needed to build or to read it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

bench: venv  ## scores test rows: every look is logged in bench/looks.jsonl
	$(BIN)/python -m bench.run $(NAMES)

clean:
	rm -rf $(VENV) demo site build dist
