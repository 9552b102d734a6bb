# `make quickstart` and `make test` work in a fresh clone: they create a virtual
# environment when it is missing and install the project into it.
#
#   VENV=path          use or create the environment there     (.venv)
#   VENV_FLAGS=...     flags of `python -m venv`, when it is created
#   PYTHON=python3.12  the interpreter that creates it         (python3)
#   INSTALLER=pip      what installs: uv, or pip if that fails (uv)
#   ARGS=...           more arguments for pytest or the quickstart

VENV ?= .venv
VENV_FLAGS ?=
PYTHON ?= python3
INSTALLER ?= uv
ARGS ?=
WORKERS ?= 2

BIN := $(VENV)/bin
INSTALL := $(BIN)/python tools/install.py --installer $(INSTALLER)
METADATA := setup.py pyproject.toml

# Images often tell Python to keep no bytecode. Each of the many processes of
# the tests and of a quick start would compile this project's sources again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install install-dev quickstart quickstart-cls test test-slow \
	lint format docs wheel clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or \
	sys.exit("luminet_mm needs Python 3.10 or newer; this is %d.%d. Name \
	another with PYTHON=..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV_FLAGS) $(VENV)

# The stamps are in the environment: a second `make` installs nothing; a new
# environment or changed requirements trigger a new install.
$(VENV)/.installed: $(METADATA) | $(BIN)/python
	$(INSTALL) -e .
	touch $@

$(VENV)/.installed-dev: $(METADATA) | $(BIN)/python
	$(INSTALL) -e '.[dev]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: $(METADATA) | $(BIN)/python
	$(INSTALL) -e '.[docs]'
	touch $@ $(VENV)/.installed

install: $(VENV)/.installed  ## install the project into VENV

install-dev: $(VENV)/.installed-dev  ## the same, with the development tools

quickstart: install  ## distil a detector on this machine, start to finish
	$(BIN)/python tools/quickstart.py $(ARGS)

quickstart-cls: install  ## distil a classifier on this machine
	$(BIN)/python tools/quickstart_cls.py $(ARGS)

test: install-dev  ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal \
		-m 'not slow' $(ARGS)

test-slow: install-dev  ## run the slow tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow $(ARGS)

lint: install-dev  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install-dev  ## format the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-docs  ## build the site in site/, links checked
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict $(ARGS)

wheel: install-dev  ## build a wheel and a source archive in dist/
	rm -rf build
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	rm -rf build

clean:  ## remove what was built, except the environment
	rm -rf build dist site *.egg-info luminet_mm/.mim $(VENV)/.installed*
	find . -path '*/.venv*' -prune -o -name __pycache__ -type d -print0 | \
		xargs -0 rm -rf
	rm -rf .pytest_cache .mypy_cache .ruff_cache
