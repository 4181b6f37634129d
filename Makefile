# make book, make test: each sets up .venv by itself and says at the end where to look. Python 3.11, pip; npm if at hand.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
VENDOR := book/assets/vendor/.tried
SITE := _build/site.stamp
NOTEBOOKS := $(wildcard notebooks/*.ipynb)
# what the pages are made from
SOURCES := $(NOTEBOOKS) _config.yml _toc.yml requirements.txt $(shell find mmlib book -type f -not -path '*/__pycache__/*' -not -path 'book/assets/vendor/*')

# One thread a process: the same numbers whichever command runs a chapter, and chapters run side by side.
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help book test lint unit notebooks site browser serve results benchmarks clean

help:
	@echo "make book        build the book; the first time it sets up .venv and runs the chapters"
	@echo "make test        lint, types, unit tests, chapters, checks of the built pages"
	@echo "make browser     the built pages in Chromium"
	@echo "make serve       the book at http://127.0.0.1:8000"
	@echo "make results     compute again what is stored in book/results (long; resumes)"
	@echo "make benchmarks  speed, on a quiet machine"
	@echo "make clean       forget what was built and executed; .venv stays"

$(READY): requirements.txt pyproject.toml
	@echo "== setting up $(VENV) (a few minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Python 3.11 is needed, found " + sys.version)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q -r requirements.txt
	@touch $@

# Tried once; without npm the pages use a CDN, and this says so each time until npm is there.
$(VENDOR): tools/vendor.py $(READY)
	@$(BIN)/python tools/vendor.py
	@if test -d $(@D)/mathjax; then touch $@; fi

$(SITE): $(SOURCES) $(wildcard book/assets/vendor/versions.txt) | $(READY) $(VENDOR)
	@echo "== building the book"
	@$(BIN)/jupyter-book build . --all -W -n --keep-going
	@touch $@

book: $(SITE)
	@if test book/assets/vendor/versions.txt -nt $(SITE); then rm $(SITE); $(MAKE) --no-print-directory $(SITE); fi
	@test -d $(dir $(VENDOR))mathjax || echo "NOTE: without npm, math and widgets come from a CDN when a page is opened."
	@echo "The book: $(CURDIR)/_build/html/index.html    (make serve shows it at http://127.0.0.1:8000)"

test: lint unit notebooks site
	@echo "All tests passed. The book they looked at: $(CURDIR)/_build/html/index.html    (make browser tests it in Chromium)"

lint: $(READY)
	@echo "== ruff, mypy, notebooks without outputs"
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/nbstripout --verify --keep-id --extra-keys "metadata.language_info metadata.widgets" $(NOTEBOOKS) </dev/null
	@$(BIN)/python tools/chapter.py --check $(NOTEBOOKS)

unit: $(READY)
	@echo "== unit tests"
	@$(BIN)/pytest tests -q -n 2

notebooks: $(READY)
	@echo "== chapters, executed"
	@$(BIN)/pytest --nbmake notebooks/ -q -n 2

# after the chapters, so that the build takes what they ran
site: notebooks
	@$(MAKE) --no-print-directory $(SITE)
	@echo "== the built pages"
	@$(BIN)/pytest tests/site -q

browser: $(SITE)
	@echo "== the built pages in Chromium"
	@$(BIN)/pytest tests/browser -q

serve: book
	@$(BIN)/python -m http.server 8000 --bind 127.0.0.1 --directory _build/html

results: $(READY)
	@$(BIN)/python -m mmlib results
	@echo "Stored results: $(CURDIR)/book/results"

benchmarks: $(READY)
	@$(BIN)/python -m tests.benchmarks.speed

clean:
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
