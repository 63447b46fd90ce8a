# Every way to work on Ebb. A fresh machine needs make, Python 3.11 or newer and Node 20 or newer.
# Written for GNU make 3.81 too, which is what macOS has.

ENGINE ?= embedded
PYTHON ?=
ARGS ?=
# Half of the tests wait for real clocks, half compute: two at a time are done in half the time.
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin

# One stamp per state of the files that say what to install: unchanged files, nothing to do.
digest = $(shell cat $(1) | cksum | cut -d ' ' -f 1)
PYTHON_STAMP := $(VENV)/.stamp-$(call digest,requirements.txt requirements-dev.txt requirements-dev-dotnet.txt)
INFRA := .venv-infra
INFRA_STAMP := $(INFRA)/.stamp-$(call digest,infra/requirements.txt infra/requirements-schema.txt)
NODE_STAMP := node_modules/.stamp-$(call digest,package.json package-lock.json .npmrc)

.PHONY: help setup demo test test-long soak lint format infra-check sandbox bench requirements clean python-matches

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

setup: python-matches $(PYTHON_STAMP) $(NODE_STAMP) ## Install everything into .venv and node_modules (PYTHON=… chooses the interpreter)

demo: setup ## Rehearse a whole migration on this machine (DEMO_KEEP=DIR leaves the archive there as files)
	@$(BIN)/python -m sandbox.demo --engine $(ENGINE) $(ARGS)

test: setup ## Run the tests (ARGS='-k governor' narrows them)
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder \
		-m 'not long' $(ARGS)

test-long: setup ## Run what waits for minutes: kills, throttling and retirement beside a living sandbox
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist load -m long $(ARGS)

soak: setup ## Simulate misfortune for hours (ARGS='--hours 4 --jobs 2', or '--seed N' for one)
	@$(BIN)/python -m tests.simulation.soak $(ARGS)

lint: setup ## Check style, format, types and which room may import which
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: setup ## Rewrite the code in the house format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

infra-check: $(INFRA_STAMP) ## Check Bicep and Terraform offline, in an environment of its own
	@TF_CLI_CONFIG_FILE=/dev/null $(INFRA)/bin/python tools/check_infra.py

sandbox: setup ## Start Azure on one machine and leave it running (ARGS=… passes options)
	@$(BIN)/python -m sandbox.stage $(ARGS)

bench: setup ## Measure Ebb against its rivals (ARGS=… chooses what)
	@$(BIN)/python -m bench $(ARGS)

requirements: setup ## Recompile the pinned requirement files from their .in files (ARGS=--upgrade renews them)
	@for name in requirements requirements-dev infra/requirements; do \
		$(BIN)/uv pip compile $$name.in --output-file $$name.txt --quiet $(ARGS) \
			--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
			--custom-compile-command 'make requirements' || exit 1; \
	done

clean: ## Remove what setup, the tests and the rehearsals made
	rm -rf $(VENV) $(INFRA) node_modules .sandbox
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Asking for one interpreter and getting another environment in silence would waste an afternoon.
python-matches:
	@if [ -n "$(PYTHON)" ] && [ -x $(BIN)/python ]; then \
		ask='import sys; print("%d.%d" % sys.version_info[:2])'; \
		wanted=`"$(PYTHON)" -c "$$ask"` && found=`$(BIN)/python -c "$$ask"` || exit 1; \
		if [ "$$wanted" != "$$found" ]; then \
			echo "setup: .venv has Python $$found and PYTHON is $$wanted; run 'make clean' first" >&2; \
			exit 1; \
		fi; \
	fi

$(BIN)/python:
	@python="$(PYTHON)"; [ -n "$$python" ] || python=`tools/find-python` || exit 1; \
	echo "setup: making .venv with $$python"; \
	"$$python" -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }

# Microsoft's worker runtime declares Python 3.13 but works on 3.11 and 3.12 with azure-functions 1.x;
# there it is installed on its own, and imported once so that a broken mix is found here.
$(PYTHON_STAMP): $(BIN)/python
	@echo "setup: installing the Python packages (about a minute)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements.txt -r requirements-dev.txt
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 13))' || \
		$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --ignore-requires-python \
			`sed -n 's/^\(azure-functions-runtime==[^ ;]*\).*/\1/p' requirements-dev.txt`
	@$(BIN)/python -c 'import azure_functions_runtime'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps -r requirements-dev-dotnet.txt
	@rm -f $(VENV)/.stamp-*
	@touch $@

$(INFRA_STAMP):
	@python="$(PYTHON)"; [ -n "$$python" ] || python=`tools/find-python` || exit 1; \
	echo "infra-check: making $(INFRA) with $$python (some minutes)"; \
	"$$python" -m venv --clear $(INFRA)
	@$(INFRA)/bin/python -m pip install -qq --disable-pip-version-check -r infra/requirements.txt
	@$(INFRA)/bin/python -m pip install -qq --disable-pip-version-check --no-deps -r infra/requirements-schema.txt
	@touch $@

$(NODE_STAMP):
	@node -e 'process.exit(process.versions.node.split(".")[0] >= 20 ? 0 : 1)' || \
		{ echo "setup: Node 20 or newer is needed for the sandbox's servers; found: `node --version 2>&1`" >&2; exit 1; }
	@echo "setup: installing the sandbox's two servers (about a minute)"
	@npm ci
	@touch $@
