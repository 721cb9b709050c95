# One command each; all but `clean` work in a virtual environment of their own.
#
#   make demo    train, export and evaluate AlignFlow on the embedded digits
#   make test    the tests                       (PYTEST_ARGS=... adds options)
#   make lint    ruff                            (make fix mends what it can)
#   make types   mypy
#   make bench   the benchmarks
#   make docs    the site, in site/
#   make results-check
#                figures of the pages, measured again; those of Maps and Facades
#                with DATA_DIR=DIR, and with TRAIN=1 TFDS_DIR=DIR also rows
#                that need training, four of them
#   make results-json
#                the pages' tables as JSON, in docs/results/data/
#   make pretrained
#                train the model that comes with the package once more
#   make wheel   a wheel and a source archive, in dist/
#   make clean   remove what building and testing left (not runs, not .venv)
#
# Another Python, environment or place: make demo PYTHON=python3.12 VENV=/tmp/v
# RUN_DIR=runs/other.

PYTHON ?= python3
VENV ?= .venv
RUN_DIR ?= runs/demo
TRAIN_ARGS ?= --preset=cpu_trunk
PYTEST_ARGS ?=
DATA_DIR ?=
# Processes that share the tests. Each loads TensorFlow: about 1 GB.
PYTEST_WORKERS ?= 2

SHELL := /bin/sh
VENV_PYTHON := $(VENV)/bin/python
# Settings are compared on purpose, by hand, and not by `make bench`.
BENCHMARKS = $(sort $(filter-out benchmarks/_% benchmarks/choose_settings.py, \
  $(wildcard benchmarks/*.py)))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test lint fix types bench docs results-check \
  results-json pretrained wheel clean same-python

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

# The environment, and a stamp for each extra installed into it. An unchanged
# setup.py needs no second installation.
$(VENV)/.created:
	@$(PYTHON) -c \
	  'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo 'alignflow_tf needs Python 3.10 to 3.13, but "$(PYTHON)" is' \
	       "$$($(PYTHON) --version 2>&1). Name another:" \
	       'make ... PYTHON=python3.12' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# Python 3.10 brings pip 23.0, which takes more than ten minutes to choose
	@# versions. Does nothing where pip is newer.
	$(VENV_PYTHON) -m pip install --quiet 'pip>=23.1'
	@touch $@

$(VENV)/.installed-%: setup.py $(VENV)/.created | same-python
	@# Python compiles what it imports, a small part of all files.
	$(VENV_PYTHON) -m pip install --no-compile --editable '.[$*]'
	@touch $@

# Only where PYTHON was given: an environment stays as it was made otherwise.
same-python: $(VENV)/.created
ifneq ($(origin PYTHON),file)
	@version='import sys; print("%d.%d" % sys.version_info[:2])'; \
	there=$$($(VENV_PYTHON) -c "$$version"); \
	asked=$$($(PYTHON) -c "$$version"); test "$$there" = "$$asked" || { \
	  echo '$(VENV) has Python' "$$there, but PYTHON=$(PYTHON) is $$asked." \
	       'Remove it, or name another: make ... VENV=.venv'"$$asked" >&2; \
	  exit 1; }
endif

demo: $(VENV)/.installed-demo
	$(VENV_PYTHON) -m alignflow_tf.train --run_dir=$(RUN_DIR) $(TRAIN_ARGS)
	$(VENV_PYTHON) -m alignflow_tf.evaluate --run=$(RUN_DIR)
	@echo
	@echo 'Translators for TF Serving:'
	@find $(RUN_DIR)/export -name saved_model.pb | sort | sed 's/^/  /'

test: $(VENV)/.installed-test
	$(VENV_PYTHON) -m pytest --numprocesses=$(PYTEST_WORKERS) --dist=loadfile \
	  --no-loadscope-reorder $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .

fix: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check --fix .

types: $(VENV)/.installed-dev
	$(VENV)/bin/mypy

bench: $(VENV)/.installed-demo
	@test -n '$(BENCHMARKS)' || echo 'No benchmarks here.'
	@set -e; for file in $(BENCHMARKS); do \
	  echo "== $$file"; $(VENV_PYTHON) $$file; \
	done

docs: $(VENV)/.installed-docs
	$(VENV)/bin/mkdocs build --strict --quiet

results-check: $(VENV)/.installed-demo
	$(VENV_PYTHON) -m tools.results_check $(DATA_DIR:%=--data_dir=%) \
	  $(if $(TRAIN),--train) $(TFDS_DIR:%=--tfds_dir=%)

# Of Python's own library alone.
results-json:
	$(PYTHON) -m tools.results_json

pretrained: $(VENV)/.installed-demo
	$(VENV_PYTHON) -m alignflow_tf.train --preset=cpu_trunk --noexport \
	  --run_dir=runs/pretrained_digits
	$(VENV_PYTHON) tools/make_pretrained.py --run=runs/pretrained_digits \
	  --name=digits

wheel: $(VENV)/.installed-dev
	$(VENV_PYTHON) -m build

clean:
	rm -rf build dist site alignflow_tf.egg-info
	rm -rf .mypy_cache .pytest_cache .ruff_cache
	find . -name .venv -prune -o -name __pycache__ -type d -prune \
	  -exec rm -rf {} +
