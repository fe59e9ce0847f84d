# `make demo` trains a small RegNet on real digits and exports it, `make test` runs the tests,
# `make check` is for every commit: style, types and the core's tests. Each sets itself up.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo check test test-cpus test-programs test-versions test-oldest test-newest test-all browser hostile coverage notebooks lint docs clean

demo: $(VENV)/demo.installed
	$(BIN)/regnet train --recipe digits --out runs/digits --overwrite
	$(BIN)/regnet export runs/digits --out runs/digits_export
	$(BIN)/regnet verify runs/digits_export

test: $(VENV)/test.installed
	$(BIN)/python -m pytest

# Less than a minute: style, types, and tests of the library's core.
CHECK_TESTS = $(addprefix tests/test_,checks.py class_names.py costs.py files.py layers.py \
	structure.py widths.py)
check: lint
	$(BIN)/python -m pytest --quiet --durations=0 --durations-min=5 $(CHECK_TESTS)

# What computes with TensorFlow's kernels, with oneDNN held to AVX2, and without oneDNN; and files
# that are exported under all of them. `make test` runs as TensorFlow runs on this processor.
CPU_TESTS = $(addprefix tests/test_,backbones.py decoders.py fusion.py layers.py models.py ops.py \
	porting.py remat.py)
test-cpus: $(VENV)/test.installed
	TF_ENABLE_ONEDNN_OPTS=1 ONEDNN_MAX_CPU_ISA=AVX2 $(BIN)/python -m pytest $(CPU_TESTS)
	TF_ENABLE_ONEDNN_OPTS=0 $(BIN)/python -m pytest $(CPU_TESTS)
	$(BIN)/python -m pytest -m "" tests/test_cpus.py

# What builds or starts programs, and `make test` leaves out: the client in C++, the wheel, MLServer,
# a killed sweep, a notebook, and what runs in a Python of its own.
test-programs: $(VENV)/test.installed
	$(BIN)/python -m pytest -m "program and not slow"

# The oldest versions that setup.cfg promises on one Python, and the newest ones on another. Choose
# the Pythons with OLDEST_PYTHON=python3.11 NEWEST_PYTHON=python3.13.
OLDEST_PYTHON ?= $(PYTHON)
NEWEST_PYTHON ?= $(PYTHON)
OLDEST = 'tensorflow==2.20.*' 'keras==3.12.*'
test-versions: test-oldest test-newest

test-oldest:
	$(MAKE) build/oldest/test.installed VENV=build/oldest PYTHON=$(OLDEST_PYTHON)
	build/oldest/bin/python -m pip install --quiet --disable-pip-version-check \
		--editable '.[test]' $(OLDEST)
	$(MAKE) test VENV=build/oldest

test-newest:
	$(MAKE) test VENV=build/newest PYTHON=$(NEWEST_PYTHON)

# With the slow ones, and the optional ones for which packages are installed.
test-all: $(VENV)/test.installed
	$(BIN)/python -m pytest -m ""

# Exported files in programs of others, in Chromium and Node.js. `python -m tests.browser` measures.
browser: $(VENV)/test.installed build/node_modules
	NODE_PATH=build/node_modules $(BIN)/python -m pytest -m "browser or node"

build/node_modules: tests/browser/package.json
	mkdir -p build
	cp $< build
	npm install --ignore-scripts --no-audit --no-fund --prefix build
	@touch $@

# Kills, damaged files, random configurations, bombs and interrupts, with a table of outcomes.
hostile: $(VENV)/test.installed
	$(BIN)/python -m tests.hostile

coverage: $(VENV)/test.installed
	$(BIN)/python -m pytest --cov

# Executes them again and saves them with their new outputs.
notebooks: $(VENV)/notebooks.installed
	$(BIN)/python -m nbconvert --to notebook --execute --inplace \
		--ExecutePreprocessor.record_timing=False notebooks/*.ipynb

lint: $(VENV)/test.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/docs.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "Written: build/docs/index.html"

# One extra of setup.cfg, installed; again whenever setup.cfg changes.
$(VENV)/%.installed: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; try make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info
