# One word per task. Each works from a bare clone with Python >= 3.11, its venv module and make.
PYTHON ?= python3
BIN := .venv/bin
LIGHT := .venv-light
COMMA := ,
DEMO := runs/demo
RECIPES := models/kd-resnet8-digits
# One worker per core, one thread per worker; a file's tests share their fixtures.
PYTEST_FLAGS ?= -n auto --dist loadfile

.PHONY: install demo test test-light test-arm check fmt bench constraints clean

install: .venv/.installed

# The main job on 1,797 handwritten digits, as the five commands a user types. No download. What is
# trained already is kept: delete runs/demo to begin at the beginning.
demo: install
	rm -rf $(DEMO)/exported $(DEMO)/teacher-exported
	$(BIN)/edgekd teach --recipe $(RECIPES)/teacher.toml --resume -o $(DEMO)/teacher
	$(BIN)/edgekd distill --recipe $(RECIPES)/recipe.toml --teacher $(DEMO)/teacher --resume -o $(DEMO)/student
	$(BIN)/edgekd export $(DEMO)/student --int8 --data builtin:digits -o $(DEMO)/exported
	$(BIN)/edgekd export $(DEMO)/teacher --data builtin:digits -o $(DEMO)/teacher-exported
	$(BIN)/edgekd bench $(DEMO)/teacher-exported $(DEMO)/exported --data builtin:digits --threads 1
	$(BIN)/edgekd report $(DEMO) -o $(DEMO)/report.html

test: install
	$(BIN)/pytest $(PYTEST_FLAGS)

# Bench and report where torch is not installed, as on a device.
test-light: install $(LIGHT)/.installed
	.ci/test-light $(BIN) $(LIGHT)/bin

# Bench on an emulated Arm board, over SSH; needs root on Linux, and says so where it is not.
test-arm: install
	.ci/test-arm $(BIN)

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: install
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

# What we promise to keep quick; needs a quiet machine. The tables that train are in benchmarks/README.md.
bench: demo
	$(BIN)/python -m benchmarks.cli_startup.run
	$(BIN)/python -m benchmarks.kd_overhead.run
	$(BIN)/python -m benchmarks.bench_overhead.run $(DEMO)/exported/*.onnx $(DEMO)/exported/*.tflite

# Take today's newest versions that pyproject.toml allows; run the tests before committing.
constraints:
	$(PYTHON) -m venv --clear .venv-constraints
	.venv-constraints/bin/python -m pip install --quiet --editable '.[dev]'
	.venv-constraints/bin/python -m pip freeze --exclude-editable > constraints.txt
	rm -rf .venv-constraints

clean:
	rm -rf .venv $(LIGHT) .venv-constraints build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# An environment with extras of edgekd; pip says nothing for as long as it takes, so this does.
# $(call install,FOLDER,EXTRAS,WHAT IT TAKES)
define install
	@echo "installing edgekd[$(2)] into $(1) ($(3)) ..."
	@began=$$(date +%s) && $(PYTHON) -m venv $(1) && \
	$(1)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[$(2)]' && \
	echo "installed in $$(( $$(date +%s) - began )) s"
	@touch $@
endef

.venv/.installed: pyproject.toml constraints.txt
	$(call install,.venv,dev,some minutes and 9 GB)

$(LIGHT)/.installed: pyproject.toml constraints.txt
	$(call install,$(LIGHT),bench$(COMMA)report,a minute)
