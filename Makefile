# `make demo` and `make test` are all a new clone needs; both make .venv once and reuse it. `make test` leaves out what needs
# Ray, Chromium and the like, and says so; `make test-all` installs them and leaves out nothing.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
STAMP := $(VENV)/installed

EVERYTHING := $(VENV)/everything
CHROMIUM := /usr/bin/chromium
# A process a core, each with one thread: threads that wait for each other cost more than they bring. A test that hangs is named
# and ends.
PYTEST := OMP_NUM_THREADS=1 $(RUN)/python -m pytest -n logical --maxprocesses 8 --dist loadgroup \
  -o faulthandler_timeout=300 -o faulthandler_exit_on_timeout=true
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: demo check test test-all coverage lint docs package clean

demo: $(STAMP)
	$(RUN)/echoes demo -o demo --overwrite

check: $(STAMP)
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports

test: check
	$(PYTEST)

test-all: $(EVERYTHING) $(CHROMIUM) check
	$(PYTEST) --strict-skips

coverage: $(STAMP)
	$(RUN)/python -m pytest --cov=visual_echoes --cov-report=term:skip-covered --cov-report=html:build/coverage

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

$(EVERYTHING): $(STAMP)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test-all]"
	touch $@

$(CHROMIUM):
	$(AS_ROOT) apt-get update
	$(AS_ROOT) apt-get install --yes --no-install-recommends chromium

clean:
	rm -rf $(VENV) build dist demo site
