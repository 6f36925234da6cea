# What people and CI call. Every target does the set-up it needs; where nothing is to be done that takes a moment.
# `STACK=name` picks the stack, default dev.
STACK ?= dev
PYTHON ?= python3
ARGS ?=

TOOLCHAIN = $(PYTHON) -m toolchain
# Runs a command in the environment of the engine: of the caller's own only what is on a list (toolchain/environment.py).
RUN = $(TOOLCHAIN) run --
# The same with the rest of the caller's own, for what obtains and compiles things by itself.
RUN_WHOLE = $(TOOLCHAIN) run --whole --
OPERATIONS = $(RUN) .toolchain/venv/bin/python -m operations
DEV = .toolchain/venv-dev/bin
PYTEST = $(RUN_WHOLE) $(DEV)/python -m pytest
# What needs no deployment, on every core; a file's tests stay together, in their order, as they share what they set up.
PYTEST_PARALLEL = $(PYTEST) -n auto --dist loadfile
PYTHON_SOURCES = $(wildcard __main__.py conftest.py components developer operations pki policy rendering settings testing tests toolchain images/probe)

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev up preview down recover renew schedule status pki policy images-accept convert blueprint test check check-python check-go check-shell check-caddy unit program e2e campaign images doctor pin pin-check clean docs docs-check benchmark

help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: ## obtain the engine, the plugins and the Python environment
	@$(TOOLCHAIN) setup

setup-dev:
	@$(TOOLCHAIN) setup --dev

up: ## set everything up and deploy the stack
	@$(TOOLCHAIN) setup --stack $(STACK)
	@$(OPERATIONS) up --stack $(STACK) $(ARGS)

preview: ## show what `make up` would change
	@$(TOOLCHAIN) setup --stack $(STACK)
	@$(OPERATIONS) preview --stack $(STACK) $(ARGS)

down: ## remove the stack; volumes keep their data
	@$(TOOLCHAIN) setup
	@$(OPERATIONS) down --stack $(STACK) $(ARGS)

images-accept: setup ## take moved image tags for what they are now
	@$(OPERATIONS) images-accept --stack $(STACK)

recover: setup ## bring a damaged state back from a copy the engine has kept
	@$(OPERATIONS) recover --stack $(STACK) $(ARGS)

convert: setup ## take the stack file and the state of an earlier release to today's form
	@$(OPERATIONS) convert --stack $(STACK)

renew: ## issue and deliver certificates near their end, and touch nothing else
	@$(TOOLCHAIN) setup --stack $(STACK)
	@$(OPERATIONS) renew --stack $(STACK) $(ARGS)

schedule: setup ## let this machine renew by itself: make schedule [ARGS=--cron|--github|--remove|--dry-run]
	@$(OPERATIONS) schedule --stack $(STACK) $(ARGS)

# On standard output is the answer alone, which may be JSON.
status: ## show certificates and their ends, services, volumes: make status [ARGS='--json --metrics FILE']
	@$(TOOLCHAIN) setup >&2
	@$(OPERATIONS) status --stack $(STACK) $(ARGS)

pki: ## certificates by name: make pki ARGS='list|show NAME|export NAME --pem FILE|verify|rotate NAME|rekey|revoke NAME|history|root'
	@$(TOOLCHAIN) setup >&2
	@$(OPERATIONS) pki --stack $(STACK) $(ARGS)

policy: ## fail where the stack would break a rule of policy/, or its state holds a private key in clear text
	@$(TOOLCHAIN) setup --stack $(STACK)
	@$(OPERATIONS) policy --stack $(STACK)

# On standard output is the blueprint alone.
blueprint: ## write what an Authentik of your own has to be told: make blueprint ARGS='--output FILE'
	@$(TOOLCHAIN) setup >&2
	@$(OPERATIONS) blueprint --stack $(STACK) $(ARGS)

test: ## run every test, the real deployment among them
	@$(TOOLCHAIN) setup --dev --stack dev
	@$(TOOLCHAIN) check-go
	@$(PYTEST_PARALLEL) toolchain/tests tests/unit tests/program $(ARGS)
	@$(PYTEST) tests/e2e $(ARGS)

unit: setup-dev ## run the unit tests
	@$(PYTEST_PARALLEL) toolchain/tests tests/unit $(ARGS)

program: setup-dev ## run the tests of the whole program against a recording engine
	@$(PYTEST_PARALLEL) tests/program $(ARGS)

e2e: ## run the tests against the real engine and Docker
	@$(TOOLCHAIN) setup --dev --stack dev
	@$(PYTEST) tests/e2e $(ARGS)

check: check-python check-go check-shell check-caddy pin-check docs-check ## check format, lint, types and more, and run the tests in Go

check-python: setup-dev
	@$(DEV)/ruff format --check $(PYTHON_SOURCES)
	@$(DEV)/ruff check $(PYTHON_SOURCES)
	@$(DEV)/mypy $(PYTHON_SOURCES)

check-go:
	@$(TOOLCHAIN) check-go

check-shell:
	@$(TOOLCHAIN) check-shell

# As in CI, where the test obtains the Caddy it asks and is never skipped.
check-caddy: setup-dev
	@CI=1 $(PYTEST) -s tests/unit/rendering/test_caddyfile.py tests/unit/edge tests/unit/relays -k caddy_itself

campaign: ## ill-treat stacks for more than an hour: killed runs, daemons and containers, broken states
	@$(TOOLCHAIN) setup --dev --stack dev
	@$(PYTEST) tests/campaign -x $(ARGS)

images: ## stage the build contexts of the development images
	@$(TOOLCHAIN) images

doctor: ## show every part, its version and where it came from
	@$(TOOLCHAIN) doctor

pin: ## move a pin: make pin PART=pulumi VERSION=3.260.0
	@$(TOOLCHAIN) pin $(PART) $(VERSION)

pin-check:
	@$(TOOLCHAIN) pin --check

clean: ## remove what set-up made; keeps state, passphrase and the cache of parts
	@$(TOOLCHAIN) clean $(ARGS)

docs: setup-dev ## make the generated parts of the documentation anew
	@$(DEV)/python -m developer.documentation

docs-check: setup-dev
	@$(DEV)/python -m developer.documentation --check

benchmark: ## measure what our own part costs, on a deployed stack: make benchmark [ARGS=--cold|--compose]
	@$(RUN_WHOLE) .toolchain/venv/bin/python -m developer.benchmark --stack $(STACK) $(ARGS)
