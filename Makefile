# `make demo` and `make test` need Python 3.11 or newer, make and git, and do everything else themselves.
#
# PYTHON=...    the Python that .venv is built from
# PIP_ARGS=...  handed to every `pip install`. The torch that pip finds by itself on Linux may be the CUDA build of
#               several GB; PyTorch's "Get Started" page names the --index-url of the CPU build, which is all
#               that coset's demo and tests need.
# ARGS=...      handed to pytest: make test ARGS="-k sizes"

PYTHON ?= python3
PIP_ARGS ?=
ARGS ?=

VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint types docs clean stale

help:
	@echo "make demo    train and compare full and compressed tables; writes to runs/, and goes on where it stopped"
	@echo "make test    run the tests (ARGS=... goes to pytest)"
	@echo "make lint    check style and format with ruff"
	@echo "make types   check types with mypy"
	@echo "make docs    write docs/methods.md from the registry (make test tells when it is stale)"
	@echo "make clean   remove $(VENV) and caches, and keep runs/"

demo: $(STAMP)
	$(VENV)/bin/coset compare keras-example-corrected --resume

test: $(STAMP)
	$(RUN) -m pytest $(ARGS)

lint: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(STAMP)
	$(RUN) -m mypy

docs: $(STAMP)
	$(RUN) -m coset.experiments.methods_page > docs/methods.md.new
	mv docs/methods.md.new docs/methods.md

clean:
	rm -rf $(VENV) dist .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp holds the folder it was made in: an environment that was moved, or whose Python has gone, is stale.
MADE_IN := $(shell $(RUN) -c pass 2>/dev/null && cat $(STAMP) 2>/dev/null)
ifneq '$(MADE_IN)' '$(CURDIR)'
$(STAMP): stale
endif

# torch comes first and by its exact version: a range would let pip pick another, larger build. The stamp is the last
# thing written, so an interrupted or failed installation is taken up again by the next make.
$(STAMP): pyproject.toml constraints.txt
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "coset needs Python 3.11 or newer, and there is no '$(PYTHON)' here: name one with make PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "coset needs Python 3.11 or newer, and $(PYTHON) is %d.%d: name another with make PYTHON=..." % sys.version_info[:2])'
	@rm -f $@
	@$(RUN) -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(VENV)
	$(RUN) -m pip install $(PIP_ARGS) -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(RUN) -m pip install $(PIP_ARGS) -c constraints.txt -e ".[cli,dev]"
	@$(RUN) -c 'import os; print(os.getcwd(), end="")' > $@
