# Two commands: `make search` and `make test`. Each one sets up .venv first if that is needed.
PYTHON ?= python3
BIN := .venv/bin
# A quick look on two cores, with the weights that come with the installation; give a real search more.
TRIALS ?= 16
MINUTES ?= 6

.PHONY: setup search test slow long machines docs points chaos soak recipes sbom gpu latest check clean

setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 to 3.13 is needed, this is %s; say make PYTHON=python3.12" % sys.version.split()[0] if not (3, 11) <= sys.version_info[:2] < (3, 14) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,cluster]'
	touch $@

search: setup
	$(BIN)/orchestrate search benign_malignant --trials $(TRIALS) --minutes $(MINUTES) --offline --address local --finish

# Twelve minutes on two cores. Searches with real Ray take both cores by themselves, so they come after the others.
test: setup check
	$(BIN)/python -m pytest -m "not slow and not long and not machines" --numprocesses 2 --dist loadfile --ignore tests/integration --ignore tests/real
	$(BIN)/python -m pytest -m "not slow and not long and not machines" tests/integration tests/real

# The files of tests that would take as long again, and the other searches with real Ray.
slow: setup
	$(BIN)/python -m pytest -m "slow and not long and not machines" --numprocesses 2 --dist loadfile --ignore tests/integration --ignore tests/real
	$(BIN)/python -m pytest -m "slow and not long and not machines" tests/integration tests/real

# What both leave out for its length: every kind of export, faults of all kinds, the pages' commands.
# `make long SHARE=4` runs one in four of them, drawn anew for every commit.
SHARE ?= 1
DRAWN = --share $(SHARE) --drawn-by "$$(git rev-parse HEAD 2>/dev/null)"
long: setup
	$(BIN)/python -m pytest -m long $(DRAWN) --numprocesses 2 --dist loadfile --ignore tests/integration || test $$? -eq 5
	$(BIN)/python -m pytest -m long $(DRAWN) tests/integration || test $$? -eq 5  # a share may be empty

# Several nodes of Ray, machines behind SSH, and faults for minutes: each for itself, on a machine with nothing else to do.
# It knows SHARE, too.
machines: setup
	$(BIN)/python -m pytest -m machines $(DRAWN) tests/integration || test $$? -eq 5  # a share may be empty

# The documentation as a site, in site/; a warning, such as a link that leads nowhere, is an error.
docs: setup .venv/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "open site/index.html; to search as well: $(BIN)/python -m http.server --directory site"

.venv/.installed-docs: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	touch $@

# Thousands of points of the spaces, each built and trained for a step.
POINTS ?= 300
points: setup
	SPACE_POINTS=$(POINTS) $(BIN)/python -m pytest tests/contracts/test_space_points.py

# One table of a machine with a GPU, in eight minutes: device tests, speed, how busy the card is. It needs no
# environment of its own: any Python with torch will do, and WHEELS is a folder of packages that it lacks. It fails
# if a part fails or does not end in its time; with ALL=1 also if one is left out, since packages lack.
# `make gpu DEVICE=cpu` asks the same of a CPU.
DEVICE ?= cuda
GPU_MINUTES ?= 8
GPU_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))
gpu:
	$(if $(WHEELS),$(GPU_PYTHON) -m pip install --quiet --no-index --no-deps $(wildcard $(WHEELS)/*.whl))
	$(GPU_PYTHON) -m benchmarks.device_table --device $(DEVICE) --minutes $(GPU_MINUTES) $(if $(ALL),--all) --out device_table.md

# Kills, frozen processes, full disks, damaged files: what searches lose by them. The same SEED, the same faults.
SEED ?= 0
chaos: setup
	$(BIN)/python -m benchmarks.chaos --seed $(SEED) --json chaos.json --markdown chaos.md

# An hour of short trials, one after the other: do memory, open files or processes grow? It fails if they do.
soak: MINUTES = 60
soak: setup
	$(BIN)/python -m benchmarks.soak --minutes $(MINUTES) --json soak.json

# What is installed here, with versions and licences: a software bill of materials, CycloneDX 1.6 in JSON.
sbom: setup
	$(BIN)/python docs/bill_of_materials.py sbom.json

# Every recipe of the catalogue, for one epoch on small data; it knows SHARE, too.
recipes: setup
	$(BIN)/python -m benchmarks.recipes $(DRAWN)

# The newest versions that pyproject.toml allows, in an environment of their own: does anything break?
latest:
	$(PYTHON) -m venv .venv-latest
	.venv-latest/bin/python -m pip install --quiet --disable-pip-version-check --upgrade --editable '.[dev,cluster]'
	.venv-latest/bin/python -m pytest --numprocesses 2 --dist loadfile tests/unit

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv .venv-latest site
