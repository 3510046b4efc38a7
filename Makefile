# `make demo` and `make test` are all a new clone needs; every target makes .venv once and reuses it.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
STAMP := $(VENV)/installed

.PHONY: demo test lint docs package clean

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

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --strict

package: $(STAMP)
	$(RUN)/python packaging/check.py --python $(PYTHON)

$(STAMP): pyproject.toml constraints.txt
	test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist demo site
