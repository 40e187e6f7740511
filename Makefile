# make demo   train on real data, build a verified bitstream     make test    the tests (what CI runs, with the checks)
# make docs   the site, into build/docs                          make readme  the figures of the README, from result files
# make check  lint, format, types, import rules, words           make bench   the measurements that the README quotes
# make quick  the tests that end within a minute                 make test-all  the slow tests too
PYTHON ?= python3
VENV   ?= .venv
DEMO   ?= demo
RUN     = $(VENV)/bin
# The tests run one process a core.
JOBS   ?= $(shell nproc)

.PHONY: demo test test-all quick check docs readme notebook notebooks bench clean env
export PATH := $(abspath $(RUN)):$(PATH)

env: $(VENV)/.installed

# Two steps: torch alone may take its own wheel (CPU where pip is configured with one); the rest is pinned
# as a whole, because finn-plus asks for an older Brevitas than the one that is checked here.
$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock torch==2.13.0 setuptools wheel
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: env
	$(RUN)/bitfabric train tfc-w1a1 --data digits -o $(DEMO)/train
	$(RUN)/bitfabric build $(DEMO)/train/model.onnx --target ulx3s-85f --fps 1000000 \
		--input $(DEMO)/train/x_test.npy --labels $(DEMO)/train/y_test.npy --compare-finn -o $(DEMO)/build

test: env
	$(RUN)/python -m pytest -n $(JOBS) -m "not slow"

test-all: env
	$(RUN)/python -m pytest -n $(JOBS)

# Only the files that hold a quick test are imported: to import all takes as long as these tests.
quick: env
	$(RUN)/python -m pytest -n $(JOBS) -m quick $$(grep -rl --include="test_*.py" "pytest.mark.quick" tests)

check: env
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/mypy -p benchmarks
	$(RUN)/lint-imports
	$(RUN)/python -m tests.words

docs: env
	NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --quiet

readme: env
	$(RUN)/python -m benchmarks.readme

notebook: env
	$(RUN)/python -m pip install --quiet --disable-pip-version-check "jupyterlab>=4"
	$(RUN)/jupyter lab notebooks

notebooks: env
	$(RUN)/python notebooks/execute.py

bench: env
	$(RUN)/python -m benchmarks.training_speed
	$(RUN)/python -m benchmarks.lookup_speed
	$(RUN)/python -m benchmarks.emulator
	$(RUN)/python -m benchmarks.memory_bits
	$(RUN)/python -m benchmarks.interval
	$(RUN)/python -m benchmarks.timing
	$(RUN)/python -m benchmarks.cold_start
	$(RUN)/python -m benchmarks.lowering
	$(RUN)/python -m benchmarks.fifo_bits
	$(RUN)/python -m benchmarks.xc7_luts
	$(RUN)/python -m benchmarks.fill_ecp5
	$(RUN)/python -m benchmarks.resources
	$(RUN)/python -m benchmarks.clocks

clean:
	rm -rf $(DEMO) build .pytest_cache .ruff_cache .mypy_cache .hypothesis
