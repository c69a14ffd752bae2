# Two commands do everything: `make search` and `make test`. Each sets up first what is missing.

VENV ?= .venv
RUN ?= runs/default
# One rank coordinates and sleeps, so that there may be one more than cores.
NP ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )))
# What to search with, such as ARGS="jobs/kws.toml --set search.max_trials=20"; ARGS= for the defaults.
ARGS ?= jobs/first.toml

# Tests run beside each other. Many wait for ranks, for other processes or for a clock, so there is one worker more than cores.
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 8 ? n + 1 : 8)))

.PHONY: setup setup-search setup-horovod search test test-fast lint site clean

search: setup-search
	@tools/with_env.sh $(VENV) tools/mpirun.sh -np $(NP) python -m hpcnas.search $(ARGS) --run $(RUN) --resume
	@tools/with_env.sh $(VENV) tools/mpirun.sh -np $(NP) python -m hpcnas.ensemble $(RUN)
	@tools/with_env.sh $(VENV) python -m hpcnas.report $(RUN)

test: setup-horovod
	@tools/with_env.sh $(VENV) python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder

# Pure logic and files: no MPI, no training.
FAST = architecture archive budget combiners coordinator detection finals fitting layers metrics mutation pareto paper roster \
	significance soundness space spotting stopping strategies toml tuning watch
test-fast: setup
	@tools/with_env.sh $(VENV) python -m pytest $(FAST:%=tests/test_%.py)

lint: setup
	@tools/with_env.sh $(VENV) sh -c 'ruff check . && ruff format --check . && mypy'

# docs/ as a site in build/site. Nothing is fetched but, the first time, the generator. Not --quiet: --strict counts what is printed.
site: setup
	@tools/with_env.sh $(VENV) sh -c 'python -c "import material, mkdocstrings" 2>/dev/null || \
	python -m pip install -q --disable-pip-version-check --no-build-isolation -c constraints.txt -e ".[docs]"'
	@NO_MKDOCS_2_WARNING=1 tools/with_env.sh $(VENV) mkdocs build --strict
	@echo build/site/index.html

# A search needs no Horovod unless it says so (cluster.engine = "horovod"), here or in its file.
setup-search:
	@if echo '$(ARGS)' | grep -qsE 'engine *= *"?horovod' - $(filter %.toml,$(ARGS)) $(RUN)/config.toml; then stage=horovod; else stage=search; fi; \
	tools/setup_env.sh $(VENV) $$stage

setup:
	@tools/setup_env.sh $(VENV)

setup-horovod:
	@tools/setup_env.sh $(VENV) horovod

clean:
	rm -rf $(VENV) build *.egg-info
