# `make demo` and `make test` are all a new clone needs; both make .venv once and reuse it. `make test-browser` also
# installs Debian's Chromium, before which `make test` leaves out what needs it, and says so.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
STAMP := $(VENV)/installed

BROWSER := $(VENV)/browser
CHROMIUM := /usr/bin/chromium
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: demo test test-browser browser lint docs package clean

demo: $(STAMP)
	$(RUN)/echoes demo -o demo --overwrite

test: $(STAMP)
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/python -m pytest

test-browser: browser
	$(RUN)/python -m pytest tests/browser tests/app

browser: $(BROWSER) $(CHROMIUM)

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

$(BROWSER): $(STAMP)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[browser]"
	touch $@

$(CHROMIUM):
	$(AS_ROOT) apt-get update
	$(AS_ROOT) apt-get install --yes --no-install-recommends chromium

clean:
	rm -rf $(VENV) build dist demo site
