# `make demo` and `make test` are all a new clone needs; both make .venv once and reuse it.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
STAMP := $(VENV)/installed

.PHONY: demo test lint clean

demo: $(STAMP)
	$(RUN)/echoes demo -o demo --overwrite

test: $(STAMP)
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/python -m pytest

lint: $(STAMP)
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

$(STAMP): pyproject.toml constraints.txt
	test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist demo
