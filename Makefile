# Every target is a line or two over commands that also work without make. `make help` lists them.

.DEFAULT_GOAL := help
SHELL := sh

# The first Python that is new enough, looked for once; PYTHON=... names another.
ifeq ($(origin PYTHON),undefined)
PYTHON = $(eval PYTHON := $(shell for p in python3 python python3.14 python3.13 python3.12 python3.11 py; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo "$$p" && break; done))$(PYTHON)
endif
# The Python of the active virtual environment, else of .venv, with what the target needs installed.
NEEDS_PYTHON = $(if $(PYTHON),,echo "Python 3.11 or newer is needed: none was found on the PATH." >&2; exit 1;)
RUN = $(NEEDS_PYTHON) py=$$($(PYTHON) scripts/bootstrap.py run) && exec "$$py"
DEV = $(NEEDS_PYTHON) py=$$($(PYTHON) scripts/bootstrap.py dev) && "$$py"
AUDIT = $(NEEDS_PYTHON) py=$$($(PYTHON) scripts/bootstrap.py audit) && "$$py"
ALEMBIC = -m alembic -c backend/alembic.ini
CODE = backend scripts

export PYTHONPATH := backend

.PHONY: help run worker test test-all test-lowest lint fmt precommit lock up down logs db-upgrade db-revision db-downgrade db-reset superuser check verify export-logs audit sbom common-passwords

help: # lists the targets
	@awk -F ':.*## ' '/^##@ / { print "\n" substr($$0, 5) } /^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Develop

run: ## Serve on http://127.0.0.1:8000 with reload (PORT=8001 for another port)
	@$(RUN) scripts/run.py

test: ## Run the tests, on every core (args="-k login" for some of them, args="-n 0" in one process)
	@$(DEV) -m pytest -n auto -m "not slow" $(args)

test-all: ## Run the tests too that start processes or wait for real time-outs
	@$(DEV) -m pytest -n auto $(args)

# The tests on the oldest versions that pyproject.toml allows, in .venv-lowest.
test-lowest:
	@$(AUDIT) scripts/lowest.py $(args)

lint: ## Check format, imports, types and layers; changes nothing
	@$(DEV) -m black --check $(CODE) && "$$py" -m isort --check-only $(CODE) \
		&& "$$py" -m ruff check --quiet $(CODE) && "$$py" -m mypy && "$${py%/*}/lint-imports" --no-cache

fmt: ## Format the code and fix what can be fixed
	@$(DEV) -m ruff check --fix --quiet $(CODE); "$$py" -m isort --quiet $(CODE) && "$$py" -m black --quiet $(CODE)

precommit: ## Run every pre-commit hook on every file
	@$(DEV) -c pass && PATH="$${py%/*}:$$PATH" "$$py" -m pre_commit run --all-files

lock: ## Lock the newest packages that pyproject.toml allows
	@$(AUDIT) scripts/lock.py

common-passwords: # Make the list of rejected passwords from a longer one on standard input
	@$(RUN) scripts/common_passwords.py

##@ Database

db-upgrade: ## Migrate the database to the newest revision
	@$(RUN) $(ALEMBIC) upgrade head

db-revision: ## Write a migration from the models (msg="add orders")
	@test -n "$(strip $(msg))" || { echo 'A revision needs a name: make db-revision msg="add orders"' >&2; exit 1; }
	@$(RUN) $(ALEMBIC) revision --autogenerate -m "$(msg)"

db-downgrade: ## Undo the last migration (rev=0001: all after that one)
	@$(RUN) scripts/downgrade.py "$(rev)"

db-reset: ## Drop every table and migrate again, in local and test only; asks first (args=--yes)
	@$(RUN) scripts/reset.py $(args)

superuser: ## Create an admin account, or make an admin of an existing one; asks for address and password
	@$(RUN) -m app.cli create-superuser $(args)

##@ Operate

up: ## Start application, PostgreSQL and Redis with Docker Compose
	docker compose up --build --detach --wait

down: ## Stop them
	docker compose down

logs: ## Follow their logs
	docker compose logs --follow

worker: ## Do background jobs in a process of its own (args="--only KIND")
	@$(RUN) -m app.cli worker $(args)

check: ## Check the configuration as production would
	@$(RUN) -m app.cli check

verify: ## Check a running deployment for what clients rely on (URL=https://api.example.com, args="--docs off")
	@$(RUN) scripts/verify.py "$(URL)" $(args)

export-logs: ## Select records of a log, as JSON lines or CSV (args="app.log --status 5xx --csv", args=--help)
	@$(RUN) scripts/export_logs.py $(args)

# One lock after the other: they may hold different versions of a package.
audit: ## Look for known vulnerabilities in locked packages (needs the internet)
	@$(AUDIT) -c pass && for lock in requirements/*.txt; do echo "$$lock"; "$$py" -m pip_audit --strict \
		--require-hashes --disable-pip --progress-spinner off -r "$$lock" || failed=1; done; exit $${failed:-0}

# sbom.cdx.json: what the application is made of, as CycloneDX.
sbom:
	@$(AUDIT) -W ignore -m cyclonedx_py requirements requirements/base.txt --pyproject pyproject.toml --mc-type application \
		--output-reproducible --output-file sbom.cdx.json

# >>> quality
-include quality/quality.mk
# <<< quality
