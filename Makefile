# For a fresh clone: `make demo` and `make test`; while at work: `make quick`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Two processes; each file of tests belongs to one of them (tests/conftest.py).
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder

.PHONY: help demo serve docs quick test browser check long clean

help:  ## list these commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## */  make \1  \t/'

# The stamps are newer than what they were installed from, or pip runs again.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	touch $@

demo: $(VENV)/.installed  ## run a small pipeline on digits: distil, train, calibrate, evaluate
	$(BIN)/ddcal demo --out ddcal-demo

serve: $(VENV)/.installed  ## start the service on http://127.0.0.1:8000, with its data in ddcal-data/
	$(BIN)/ddcal serve

docs: $(VENV)/.installed-dev  ## show the documentation site, built anew when a page changes
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

quick: $(VENV)/.installed-dev  ## all checks, and the tests that start no server and no trainer (3 minutes)
	.ci/checks
	$(PYTEST) -m "not postgresql and not broker and not trainer and not long"

test: $(VENV)/.installed-dev  ## all tests (20 minutes)
	$(PYTEST)

browser: $(VENV)/.installed-dev  ## pages with a real Chromium (where there is one; 5 minutes)
	$(BIN)/python -m pytest -m browser tests/browser

check:  ## what CI runs: all checks, then all tests (25 minutes)
	.ci/run

long:  ## long chaos and API tests, for hours (see .ci/long)
	.ci/long

clean:  ## remove the virtual environment
	rm -rf $(VENV)
