# `make demo` and `make test` need Python 3.11 or newer, make and git, and do everything else themselves.
#
# PYTHON=...    the Python that .venv is built from
# PIP_ARGS=...  handed to every `pip install`. The torch that pip finds by itself on Linux may be the CUDA build of
#               several GB; PyTorch's "Get Started" page names the --index-url of the CPU build, which is all
#               that coset's demo and tests need.
# ARGS=...      handed to pytest: make test ARGS="-k sizes"; by make fuzz, to tests/fuzz/run.py: ARGS="--group clicks"
# SECONDS=...   how long make fuzz goes on
# NAME=...      one benchmark: make bench NAME=scale

PYTHON ?= python3
PIP_ARGS ?=
NAME ?=
ARGS ?=
SECONDS ?= 120

comma := ,
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed

# The Keras layers run on TensorFlow and JAX, too, which want an environment of their own.
KERAS_VENV := .venv-keras
KERAS_RUN := $(KERAS_VENV)/bin/python
KERAS_STAMP := $(KERAS_VENV)/.installed

# The benchmarks' peers: FBGEMM here, whose binary fits one version of torch alone; TensorFlow in the one above.
BENCH_VENV := .venv-bench
BENCH_RUN := $(BENCH_VENV)/bin/python
BENCH_STAMP := $(BENCH_VENV)/.installed

# TorchRec, FBGEMM and torchao, which the tests in tests/peers hold coset against.
PEERS_VENV := .venv-peers
PEERS_RUN := $(PEERS_VENV)/bin/python
PEERS_STAMP := $(PEERS_VENV)/.installed

# coset-runtime, installed without torch.
RUNTIME_VENV := .venv-runtime
RUNTIME_RUN := $(RUNTIME_VENV)/bin/python
RUNTIME_STAMP := $(RUNTIME_VENV)/.installed

# Libraries of rating models, which a benchmark fits by their own defaults.
RATINGS_VENV := .venv-ratings
RATINGS_RUN := $(RATINGS_VENV)/bin/python
RATINGS_STAMP := $(RATINGS_VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test fuzz test-keras test-peers test-runtime lint types docs site bench clean stale

help:
	@echo "make demo    train and compare full and compressed tables; writes to runs/, and goes on where it stopped"
	@echo "make test    run the tests (ARGS=... goes to pytest)"
	@echo "make test-keras  run the tests of the Keras layers on TensorFlow and JAX, too, in $(KERAS_VENV)"
	@echo "make test-peers  run the tests against TorchRec, FBGEMM and torchao in $(PEERS_VENV)"
	@echo "make test-runtime  install coset-runtime into $(RUNTIME_VENV), without torch, and hold it against torch's figures"
	@echo "make fuzz    throw changed files, settings, folders and arguments at coset for SECONDS=$(SECONDS)"
	@echo "             (ARGS=... goes to tests/fuzz/run.py, which repeats any input by its number)"
	@echo "make lint    check style and format with ruff"
	@echo "make types   check types with mypy"
	@echo "make docs    write docs/methods.md and the names of methods from the registry, docs/benchmarks.md from results"
	@echo "             (make test tells when they are stale)"
	@echo "make site    build the documentation into site/, of docs/, README.md and the docstrings; warnings are errors"
	@echo "make bench   install the peers into $(BENCH_VENV), $(KERAS_VENV) and $(RATINGS_VENV), measure, and write"
	@echo "             benchmarks/results"
	@echo "             (NAME=... for one benchmark alone)"
	@echo "make clean   remove $(VENV) and caches, and keep runs/"

demo: $(STAMP)
	$(VENV)/bin/coset compare keras-example-corrected --resume

# Without compiled files of Python, every worker and every command that tests start would compile all sources again.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(STAMP)
	$(RUN) -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

test-keras: $(KERAS_STAMP)
	KERAS_BACKEND=tensorflow $(KERAS_RUN) -m pytest tests/keras $(ARGS)
	KERAS_BACKEND=jax $(KERAS_RUN) -m pytest tests/keras $(ARGS)

test-peers: $(PEERS_STAMP)
	$(PEERS_RUN) -m pytest tests/peers $(ARGS)

test-runtime: $(STAMP) $(RUNTIME_STAMP)
	$(RUN) -m tests.runtime.sample $(RUNTIME_VENV)/sample
	$(RUNTIME_RUN) tests/runtime/check_sample.py $(RUNTIME_VENV)/sample

fuzz: $(STAMP)
	$(RUN) tests/fuzz/run.py --seconds $(SECONDS) $(ARGS)

lint: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(STAMP)
	$(RUN) -m mypy

docs: $(STAMP)
	$(RUN) -m tools.public_names
	$(RUN) -m tools.methods_page > docs/methods.md.new
	mv docs/methods.md.new docs/methods.md
	$(RUN) -m tools.benchmarks_page > docs/benchmarks.md.new
	mv docs/benchmarks.md.new docs/benchmarks.md

site: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --clean

bench: $(BENCH_STAMP) $(KERAS_STAMP) $(RATINGS_STAMP)
	$(BENCH_RUN) -m tools.bench $(NAME) --out benchmarks/results
	$(MAKE) docs

clean:
	rm -rf $(VENV) $(KERAS_VENV) $(BENCH_VENV) $(PEERS_VENV) $(RUNTIME_VENV) $(RATINGS_VENV) dist site .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find src runtime tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp holds the folder it was made in: an environment that was moved, or whose Python has gone, is stale.
made_in = $(shell $(1)/bin/python -c pass 2>/dev/null && cat $(1)/.installed 2>/dev/null)
ifneq '$(call made_in,$(VENV))' '$(CURDIR)'
$(STAMP): stale
endif
ifneq '$(call made_in,$(KERAS_VENV))' '$(CURDIR)'
$(KERAS_STAMP): stale
endif
ifneq '$(call made_in,$(BENCH_VENV))' '$(CURDIR)'
$(BENCH_STAMP): stale
endif
ifneq '$(call made_in,$(PEERS_VENV))' '$(CURDIR)'
$(PEERS_STAMP): stale
endif
ifneq '$(call made_in,$(RUNTIME_VENV))' '$(CURDIR)'
$(RUNTIME_STAMP): stale
endif
ifneq '$(call made_in,$(RATINGS_VENV))' '$(CURDIR)'
$(RATINGS_STAMP): stale
endif

# install ENVIRONMENT, CONSTRAINTS, REQUIREMENTS, COMMAND
# torch comes first and by its exact version: a range would let pip pick another, larger build. The stamp is the last
# thing written, so an interrupted or failed installation is taken up again by the next make.
define install
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "coset needs Python 3.11 or newer, and there is no '$(PYTHON)' here: name one with make PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "coset needs Python 3.11 or newer, and $(PYTHON) is %d.%d: name another with make PYTHON=..." % sys.version_info[:2])'
	@rm -f $@
	@$(1)/bin/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(1)
	$(1)/bin/python -m pip install $(PIP_ARGS) $(2) "$$(grep '^torch==' constraints.txt)"
	$(1)/bin/python -m pip install $(PIP_ARGS) $(2) $(3)
	$(4)
	@$(1)/bin/python -c 'import os; print(os.getcwd(), end="")' > $@
endef

$(STAMP): pyproject.toml constraints.txt
	$(call install,$(VENV),-c constraints.txt,-e ".[cli$(comma)dev$(comma)site]")

$(KERAS_STAMP): pyproject.toml constraints.txt constraints-keras.txt
	$(call install,$(KERAS_VENV),-c constraints.txt -c constraints-keras.txt,-e ".[cli$(comma)keras]" tensorflow-cpu jax pytest pytest-timeout)

# FBGEMM has binaries for few systems, and says that it needs much which its tables on a CPU do not.
$(BENCH_STAMP): pyproject.toml constraints.txt constraints-bench.txt
	$(call install,$(BENCH_VENV),-c constraints.txt,-e ".[cli]",$(BENCH_RUN) -m pip install $(PIP_ARGS) --no-deps \
	  -r constraints-bench.txt || echo "no FBGEMM for this system: the benchmarks leave its rows out" >&2)
	$(BENCH_RUN) -m pip install $(PIP_ARGS) -c constraints.txt pandas==3.1.1

# As above. What TorchRec imports is named there, too, as it asks for a build of FBGEMM with CUDA.
$(PEERS_STAMP): pyproject.toml constraints.txt constraints-peers.txt
	$(call install,$(PEERS_VENV),-c constraints.txt,-e ".[cli]" pytest pytest-timeout,$(PEERS_RUN) -m pip \
	  install $(PIP_ARGS) --no-deps -r constraints-peers.txt \
	  || echo "no TorchRec and FBGEMM and torchao for this system: their tests are skipped" >&2)

# Installed as its users install it, and anew where it was changed.
$(RUNTIME_STAMP): runtime/pyproject.toml constraints.txt $(wildcard runtime/src/coset_runtime/*.py)
	@rm -f $@
	@$(RUNTIME_VENV)/bin/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(RUNTIME_VENV)
	$(RUNTIME_RUN) -m pip install $(PIP_ARGS) -c constraints.txt --upgrade --force-reinstall ./runtime
	@$(RUNTIME_RUN) -c 'import os; print(os.getcwd(), end="")' > $@

$(RATINGS_STAMP): pyproject.toml constraints.txt constraints-ratings.txt
	$(call install,$(RATINGS_VENV),-c constraints.txt -c constraints-ratings.txt,-e ".[cli]" cornac lenskit lenskit-funksvd \
	  scikit-surprise)
