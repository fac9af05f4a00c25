# Every target does its own set-up. `make help` tells what there is; CONTRIBUTING.md tells how the project works.

SHELL := /bin/sh
PYTHON ?= python3
CLUSTER ?= mosha
N ?= 8
SEEDS ?= 0..199
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
WORKERS ?= $(shell expr $(JOBS) + $(JOBS) / 2)
PYTEST = $(BIN)/python -m pytest --world=sim $(if $(CI),--durations=40)
T ?= tests
WORLD ?= docker
BIN := .venv/bin
MOSLAB := $(BIN)/moslab --cluster $(CLUSTER)

.DEFAULT_GOAL := help
.PHONY: help cluster status kill start pause resume exec logs down test test-long chaos unit posix compose-test check diagrams fuzz mutants sim-coverage coverage sim bench-up bench-lab bench-failover bench-sim bench-mfs bench-idle bench-agent wheel clean
.DELETE_ON_ERROR:

help: ## show this text
	@awk 'BEGIN {FS = ":.*## "} /^[a-z.-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2} \
	  /^##@ / {printf "\n%s\n", substr($$0, 5)}' $(MAKEFILE_LIST)

##@ The cluster (CLUSTER=name for a second one beside the first)
cluster: .venv/.lab ## start a cluster of N nodes (N=8; 2 to 64) and wait until the demo groups run (TOXIPROXY=1: MFS goes through it)
	@$(MOSLAB) up $(N) $(if $(TOXIPROXY),--toxiproxy)

status: .venv/.lab ## nodes and resource groups
	@$(MOSLAB) status

kill: .venv/.lab ## power a node off: NODE=3, or the owner of a group: GROUP=kv
	@$(MOSLAB) kill $(if $(GROUP),--group $(GROUP),$(NODE))

start: .venv/.lab ## power a node on: NODE=3
	@$(MOSLAB) start $(NODE)

pause: .venv/.lab ## freeze a node: NODE=3
	@$(MOSLAB) pause $(NODE)

resume: .venv/.lab ## thaw a node: NODE=3
	@$(MOSLAB) resume $(NODE)

exec: .venv/.lab ## run a command on a node: NODE=3 CMD='mosha status'
	@$(MOSLAB) exec $(NODE) -- $(or $(CMD),mosha status)

logs: .venv/.lab ## what a node has logged: NODE=3
	@$(MOSLAB) logs $(NODE)

down: .venv/.lab ## remove the cluster; nothing is left
	@$(MOSLAB) down

##@ Work on the project
# Containers first, and as many tests at a time as there are processors: with more, a node's guardians wait for one. The
# clusters of many nodes have the machine for themselves.
test: .venv/.dev ## all tests but the long ones (T=path for all of some)
ifeq ($(T),tests)
	$(PYTEST) -m 'not long' -n $(JOBS) --dist loadgroup $(T)/container
	$(PYTEST) -m 'not long' -n $(WORKERS) --ignore=$(T)/container $(T)
else
	$(PYTEST) -n $(JOBS) --dist loadgroup $(T)
endif

test-long: .venv/.dev ## the long ones: services under many faults, genuine times, upgrades, the floor of a real node
	$(PYTEST) -m long -n $(JOBS) --dist loadgroup --ignore=$(T)/container/test_many.py $(T)/container
	$(PYTEST) -m long $(T)/container/test_many.py
	$(PYTEST) -m long -n $(WORKERS) --ignore=$(T)/container $(T)

chaos: .venv/.dev ## the scenarios of tests/chaos in containers (WORLD=sim,namespaces,docker: in all worlds; SEED=n; BUDGET=10m: random ones for so long)
	$(BIN)/python -m pytest --world=$(WORLD) $(if $(SEED),--seed=$(SEED)) $(if $(BUDGET),--chaos-budget=$(BUDGET)) tests/chaos

unit: .venv/.dev ## the fast tests only: no container engine
	$(PYTEST) -n $(WORKERS) tests/unit

posix: .venv/.dev .posix/.tools ## /mfs/<other> before judges that nobody here wrote: pjdfstest, fsx; git, tar, rsync, make
	MOSHA_POSIX=.posix/bin $(BIN)/python -m pytest tests/posix

compose-test: .venv/.dev .compose/.tools ## compose/ started for real: all groups run, the ports, deaths, down; nothing is left
	MOSHA_COMPOSE=.compose/docker-compose $(BIN)/python -m pytest tests/compose

check: .venv/.dev ## lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

diagrams: ## draw the state machines of clinit into docs/clinit.md
	@$(PYTHON) ci/diagrams

sim: .venv/.dev ## a campaign of simulated clusters, which must reach all that it should (SEEDS=0..199)
	$(BIN)/moslab sim --seeds $(SEEDS) -j $(JOBS) --sometimes

fuzz: .venv/.fuzz ## a million inputs for everything that reads what others wrote: out/fuzz/ (about 10 minutes; TARGET='cltab' INPUTS=n)
	$(BIN)/python -m tests.fuzz -j $(JOBS) $(if $(INPUTS),--inputs $(INPUTS)) $(if $(TARGET),'$(TARGET)')

mutants: .venv/.dev ## does the simulator catch each mutant, after how many seeds? (MUTANTS='name …' BUDGET=n RUNS=pypy3; DOCS=1: their rows go into docs/simulator.md)
	$(BIN)/python -m tests.mutants.hunt -j $(JOBS) $(if $(BUDGET),--budget $(BUDGET)) $(if $(RUNS),--python $(RUNS)) \
		$(if $(DOCS),--docs) $(MUTANTS)

sim-coverage: .venv/.dev ## what simulation alone reaches of the ownership package, at least 95 % of its branches (5 minutes)
	$(BIN)/python -m tests.mutants.reach -j $(JOBS)

coverage: .venv/.dev ## all tests, counting subprocesses and the code in containers: out/coverage/
	ci/coverage $(T)

bench-up: .venv/.dev ## start-up of 8 nodes beside 8 bare containers: out/bench/up.json
	@$(BIN)/moslab bench-up

bench-lab: .venv/.dev ## tests of the laboratory: kill and recover, two workers, simulated, namespaces: out/bench/lab.json (6 minutes)
	@$(BIN)/moslab bench-lab

bench-failover: .venv/.dev ## first boot, cold start, failover, planned move; N = 3, 5, 8: out/bench/failover.json (about 35 minutes)
	@$(BIN)/moslab bench-failover

bench-sim: .venv/.lab ## speed of the simulator, and what more nodes cost it: out/bench/sim.json (about 20 minutes)
	@$(BIN)/moslab bench-sim $(if $(NODES),--nodes $(NODES)) $(if $(SECONDS),--seconds $(SECONDS))

bench-mfs: .venv/.lab .bench/.tools ## MFS beside passthrough_ll and sshfs, and cut off: out/bench/mfs.json (2 minutes; root)
	@$(BIN)/moslab bench-mfs

bench-idle: .venv/.lab ## 64 nodes of openMosix at rest, and what its tools cost: out/bench/idle.json (2 minutes)
	@$(BIN)/moslab bench-idle $(if $(NODES),--nodes $(NODES))

bench-agent: .venv/.lab ## the agent at rest on 8 nodes, level changes, respawns: out/bench/agent.json (4 minutes)
	@$(BIN)/moslab bench-agent $(if $(NODES),--nodes $(NODES)) $(if $(SECONDS),--seconds $(SECONDS))

##@ What is shipped
mosha.pyz: $(shell find src/mosha -name '*.py') ## the agent as one file
	@rm -rf build/pyz && mkdir -p build/pyz
	@cp -R src/mosha build/pyz/ && find build/pyz -name __pycache__ -prune -exec rm -rf {} +
	@$(PYTHON) -m zipapp -c -p '/usr/bin/env python3' -m 'mosha.cli:run_main' -o $@ build/pyz && chmod 755 $@
	@rm -rf build/pyz && echo "$@: run it as ./$@ or $(PYTHON) $@"

wheel: .venv/.dev ## the distribution, with all that a node image is made of: dist/
	@$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist . && ls dist

clean: ## remove what was built here, the virtual environment too (run `make down` first)
	rm -rf .venv .posix .bench .compose out build dist mosha.pyz .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage .coverage.*
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/.lab .venv/.dev .venv/.fuzz: pyproject.toml ci/venv
	@PYTHON='$(PYTHON)' ci/venv $(subst .,,$(notdir $@))

.posix/.tools: ci/posix
	@ci/posix

.bench/.tools: ci/bench-mfs
	@ci/bench-mfs

.compose/.tools: ci/compose
	@ci/compose
