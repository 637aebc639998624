# make demo       set up and run the main job end to end, headless        make lab       JupyterLab on the notebooks
# make test       set up and run the tests, but for the thorough ones     make check     format, lint, types, layers
# make test-fast  those of a minute                                       make test-all  every test, also thorough ones
# make bench      serving beside its peers, and what we promise of time   make clean     remove what these made

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export BENTOML_DO_NOT_TRACK := True
unexport VIRTUAL_ENV  # another environment active in the shell: IPython would put its packages before ours
unexport PYTHONDONTWRITEBYTECODE  # where it is set, every process that starts compiles its modules anew

# A file stays in one process, its services and kernels with it; load under test is exactly counted, so a busy neighbour
# slows it and loses nothing; what measures seconds is marked `alone`. ARGS=-n0 is one process, as pytest by hand is.
# Small models are fitted twice as fast without a BLAS that waits for threads; the tests of nbval start it themselves.
PYTEST := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -p no:nbval -n logical --maxprocesses 4 \
          --dist loadfile --no-loadscope-reorder

DEMO := build/demo
TEST := build/test
LAB := build/lab
home = NBDEPLOY_HOME=$(abspath $(1)/nbdeploy) BENTOML_HOME=$(abspath $(1)/bentoml) IPYTHONDIR=$(abspath $(1)/ipython) \
       JUPYTER_CONFIG_DIR=$(abspath $(1)/jupyter) JUPYTER_RUNTIME_DIR=$(abspath $(1)/runtime)

.PHONY: demo test test-fast test-all test-thorough check format lab bench clean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo
	@if [ -d $(DEMO)/nbdeploy ]; then $(call home,$(DEMO)) $(BIN)/nbdeploy stop penguins >/dev/null 2>&1 || true; fi
	@rm -rf $(DEMO) && mkdir -p $(DEMO)
	@echo "Running notebooks/quickstart.ipynb: train, bundle, check, serve, predict, redeploy, roll back, stop ..."
	@$(call home,$(DEMO)) $(BIN)/papermill --cwd notebooks --kernel python3 --log-output --no-progress-bar \
	    notebooks/quickstart.ipynb $(DEMO)/quickstart.ipynb >$(DEMO)/papermill.log 2>&1 \
	 || { $(call home,$(DEMO)) $(BIN)/nbdeploy stop penguins >/dev/null 2>&1; tail -n 40 $(DEMO)/papermill.log; exit 1; }
	@$(BIN)/jupyter nbconvert --to html --log-level WARN $(DEMO)/quickstart.ipynb
	@$(call home,$(DEMO)) $(BIN)/nbdeploy versions penguins
	@echo "Done, and nothing is left running. The executed notebook: $(DEMO)/quickstart.html"

test: $(VENV)/.dev
	@mkdir -p $(TEST)/home
	$(call home,$(TEST)/home) $(PYTEST) -m "not thorough" --junit-xml=$(TEST)/junit.xml $(ARGS)

test-fast: $(VENV)/.dev
	@mkdir -p $(TEST)/home
	$(call home,$(TEST)/home) $(PYTEST) -m "not slow and not thorough" $(ARGS)

test-thorough: $(VENV)/.dev
	@mkdir -p $(TEST)/home
	$(call home,$(TEST)/home) $(PYTEST) -m thorough --junit-xml=$(TEST)/thorough.xml $(ARGS)

test-all: test test-thorough

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q --no-header tests/test_layers.py tests/test_public_api.py

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lab: $(VENV)/.demo
	@mkdir -p $(LAB)
	$(call home,$(LAB)) $(BIN)/jupyter lab --notebook-dir=notebooks

bench: $(VENV)/.bench
	@mkdir -p build/bench
	env -u PYTHONDONTWRITEBYTECODE $(call home,build/bench) $(BIN)/python -m benchmarks

clean:
	rm -rf build $(VENV) .hypothesis .mypy_cache .pytest_cache .ruff_cache

$(VENV)/.ready:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	 || { echo "$(PYTHON) is older than 3.11: name a newer one with make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	 || { echo "$(PYTHON) has no venv module: install the package python3-venv (apt-get install python3-venv)"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo $(VENV)/.dev $(VENV)/.bench: $(VENV)/.%: $(VENV)/.ready pyproject.toml
	@echo "Installing nbdeploy and what it needs into $(VENV) (some minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@
