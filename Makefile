# make book, make test: each sets up .venv by itself and says at the end where to look. Python 3.11 to 3.14; npm if at hand.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
VENDOR := book/assets/vendor/.tried
SITE := _build/site.stamp
NOTEBOOKS := $(wildcard notebooks/*.ipynb)
# what the pages are made from
SOURCES := $(NOTEBOOKS) _config.yml _toc.yml requirements.txt requirements-hashes.txt $(shell find mmlib book -type f -not -path '*/__pycache__/*' -not -path 'book/assets/vendor/*')

# One thread a process: the same numbers whichever command runs a chapter, and chapters run side by side.
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help book pdf test lint unit notebooks site browser serve results benchmarks backbones colab pythons mutants clean

help:
	@echo "make book        build the book; the first time it sets up .venv and runs the chapters"
	@echo "make test        lint, types, unit tests, chapters, checks of the built pages"
	@echo "make browser     the built pages in Chromium"
	@echo "make pdf         the built pages as one PDF, printed by Chromium; the pages get a link to it"
	@echo "make serve       the book at http://127.0.0.1:8000"
	@echo "make results     compute again what is stored in book/results (long; resumes)"
	@echo "make benchmarks  speed, on a quiet machine"
	@echo "make backbones   larger networks and recordings, in an environment of their own (torchvision, timm: some GB)"
	@echo "make colab       the chapters with Colab's versions, from an empty folder, with only the built wheel (some GB)"
	@echo "make pythons     the lock and what needs no PyTorch, with each Python from 3.11 to 3.14 that is here"
	@echo "make mutants     what the unit tests overlook: MUTANTS='--sample 100 --seed 1', hours without"
	@echo "make clean       forget what was built and executed; .venv stays"
	@echo "PYTHON=python3.12 and TORCH_BACKEND=cpu choose what .venv is made of; see tools/set_up.py"

# Any Python that runs starts the script, which finds the newest suitable one. PYTHON and TORCH_BACKEND reach it as variables.
$(READY): requirements.txt requirements-hashes.txt pyproject.toml
	@IFS=$$'\n'; for python in $${PYTHON:-} $$(type -ap python3 python3.14 python3.13 python3.12 python3.11 python); do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 6))' >/dev/null 2>&1; then exec "$$python" tools/set_up.py; fi; \
	done; echo "Python 3.11 to 3.14 is needed, and none was found: apt install python3-venv, dnf install python3, brew install python" >&2; exit 1

# Tried once; without npm the pages use a CDN, and this says so each time until npm is there.
$(VENDOR): tools/vendor.py $(READY)
	@$(BIN)/python tools/vendor.py
	@if test -d $(@D)/katex; then touch $@; fi

$(SITE): $(SOURCES) $(wildcard book/assets/vendor/versions.txt) | $(READY) $(VENDOR)
	@echo "== building the book"
	@rm -rf _build/html/_modules  # Sphinx keeps these, though what is documented there may have changed
	@$(BIN)/jupyter-book build . --all -W -n --keep-going
	@touch $@

book: $(SITE)
	@if test book/assets/vendor/versions.txt -nt $(SITE); then rm $(SITE); $(MAKE) --no-print-directory $(SITE); fi
	@test -d $(dir $(VENDOR))katex || echo "NOTE: without npm, math is set by a script from a CDN when a page is opened."
	@echo "The book: $(CURDIR)/_build/html/index.html    (make serve shows it at http://127.0.0.1:8000)"

test: lint unit notebooks site
	@echo "All tests passed. The book they looked at: $(CURDIR)/_build/html/index.html    (make browser tests it in Chromium)"

lint: $(READY)
	@echo "== ruff, mypy, notebooks without outputs"
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/nbstripout --verify --keep-id --extra-keys "metadata.language_info metadata.widgets" $(NOTEBOOKS) </dev/null
	@$(BIN)/python tools/chapter.py --check $(NOTEBOOKS)

# KaTeX is fetched first: some tests are about what sets the math
unit: $(READY) | $(VENDOR)
	@echo "== unit tests"
	@$(BIN)/pytest tests -q -n 2 --dist loadgroup

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

pdf: $(SITE)
	@$(BIN)/python tools/make_pdf.py

serve: book
	@$(BIN)/python -m http.server 8000 --bind 127.0.0.1 --directory _build/html

results: $(READY)
	@$(BIN)/python -m mmlib results
	@echo "Stored results: $(CURDIR)/book/results"

benchmarks: $(READY)
	@$(BIN)/python -m tests.benchmarks.speed

# timm needs the torchvision that belongs to its torch, and the lock has none
backbones:
	@echo "== larger networks and recordings"
	@test -x .venv-scale/bin/python || $${PYTHON:-python3} -m venv .venv-scale
	@.venv-scale/bin/python -c 'import torchvision' 2>/dev/null || .venv-scale/bin/pip install -q torch torchvision
	@.venv-scale/bin/pip install -q -e '.[scale]' pytest pytest-timeout
	@.venv-scale/bin/python -m pytest -q -ra --noconftest -o addopts= tests/test_backbones.py tests/test_data_cremad.py

# an environment of its own: the lock is another one
colab:
	@echo "== the chapters as on Colab"
	@$${PYTHON:-python3} tools/colab.py $(CHAPTERS)

pythons: $(READY)
	@echo "== each Python that is here"
	@$(BIN)/python tools/check_pythons.py

# needs nothing else of this package, so it is no part of the lock
mutants: $(READY)
	@$(BIN)/pip install -q cosmic-ray==8.7.0
	@$(BIN)/python tools/mutants.py $(MUTANTS)

clean:
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
