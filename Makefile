# Every target is a line or two over commands that also work without make. `make help` lists them.

.DEFAULT_GOAL := help
SHELL := sh

# The first Python that is new enough; PYTHON=... names another.
PYTHON ?= $(shell for p in python3 python python3.14 python3.13 python3.12 python3.11 py; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo "$$p" && break; done)
# The Python of the active virtual environment, else of .venv, with what the target needs installed.
NEEDS_PYTHON = $(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	|| { echo "Python 3.11 or newer is needed: none was found on the PATH (or PYTHON= names another)." >&2; exit 1; };
RUN = $(NEEDS_PYTHON) py=$$($(PYTHON) scripts/bootstrap.py run) && exec "$$py"
DEV = $(NEEDS_PYTHON) py=$$($(PYTHON) scripts/bootstrap.py dev) && "$$py"
AUDIT = $(NEEDS_PYTHON) py=$$($(PYTHON) scripts/bootstrap.py audit) && "$$py"
ALEMBIC = -m alembic -c backend/alembic.ini

export PYTHONPATH := backend

.PHONY: help run test test-all lint lint-repo fmt precommit up down logs db-upgrade db-revision db-downgrade superuser check bench attack proxy-profile chaos leaks fuzz mutants verify export-logs test-lowest docs-check browser lock audit sbom

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(firstword $(MAKEFILE_LIST)) | sort | sed 's/:.*## /\t/' | expand -t 16

run: ## Serve on http://127.0.0.1:8000 with reload (PORT=8001 for another port)
	@$(RUN) scripts/run.py

test: ## Run the tests, on every core (args="-k login" for some of them, args="-n 0" in one process)
	@$(DEV) -m pytest -n auto -m "not slow" $(args)

test-all: ## Run those too that start processes or wait for real time-outs
	@$(DEV) -m pytest -n auto $(args)

test-lowest: ## Run the tests on the oldest versions that pyproject.toml allows (makes .venv-lowest)
	@$(AUDIT) scripts/lowest.py $(args)

lint: ## Check format, imports, types and layers; changes nothing
	@$(DEV) -m black --check backend scripts && "$$py" -m isort --check-only backend scripts \
		&& "$$py" -m ruff check --quiet backend scripts && "$$py" -m mypy && "$${py%/*}/lint-imports" --no-cache

lint-repo: ## Check workflows, Dockerfile, Compose file and shell scripts, and look for secrets in all of git
	@$(AUDIT) scripts/lint_repo.py

fmt: ## Format the code and mend what can be mended
	@$(DEV) -m ruff check --fix --quiet backend scripts; "$$py" -m isort --quiet backend scripts && "$$py" -m black --quiet backend scripts

precommit: ## Run every pre-commit hook on every file
	@$(DEV) -c pass && PATH="$${py%/*}:$$PATH" "$$py" -m pre_commit run --all-files

up: ## Start application, PostgreSQL and Redis with Docker Compose
	docker compose up --build --detach --wait

down: ## Stop them
	docker compose down

logs: ## Follow their logs
	docker compose logs --follow

db-upgrade: ## Migrate the database to the newest revision
	@$(RUN) $(ALEMBIC) upgrade head

db-revision: ## Write a migration from the models (msg="add orders")
	@test -n "$(strip $(msg))" || { echo 'A revision needs a name: make db-revision msg="add orders"' >&2; exit 1; }
	@$(RUN) $(ALEMBIC) revision --autogenerate -m "$(msg)"

db-downgrade: ## Undo the last migration (rev=0001: all after that one)
	@$(RUN) scripts/downgrade.py "$(rev)"

superuser: ## Create an admin account; asks for address and password
	@$(RUN) -m app.cli create-superuser $(args)

check: ## Judge the configuration as production would
	@$(RUN) -m app.cli check

bench: ## Measure the template against the least that does the same work (args=--quick)
	@$(DEV) -m scripts.bench $(args)

attack: ## Attack a running server over its socket (args=--quick, args="--only A-07 A-51")
	@$(DEV) -m scripts.attack $(args)

proxy-profile: ## Attack the application behind the shipped nginx, slow clients first of all (args=--quick)
	@$(DEV) -m scripts.proxy_profile $(args)

chaos: ## Break Redis, PostgreSQL and more and measure what clients notice (args=--quick, args="--only redis postgres")
	@$(DEV) -m scripts.chaos $(args)

leaks: ## Send 200,000 good and bad requests and look whether the process holds more than before (args=--quick)
	@$(DEV) -m scripts.chaos --only leaks $(args)

fuzz: ## Look for the request that nobody has thought of (args=--quick, args="--seed 7 --case 1234")
	@$(DEV) -m scripts.fuzz $(args)

mutants: ## Change the code in one place at a time and look whether a test notices (args="auth/jwt.py")
	@$(DEV) -m scripts.mutants $(args)

verify: ## Ask a running deployment for what clients rely on (URL=https://api.example.com, args="--docs off")
	@$(RUN) scripts/verify.py "$(URL)" $(args)

export-logs: ## Choose records of a log, as JSON lines or CSV (args="app.log --status 5xx --csv", args=--help)
	@$(RUN) scripts/export_logs.py $(args)

docs-check: ## Look up every name in the documents, run their commands on a fresh clone, follow the recipe (args=--whole)
	@$(DEV) -m scripts.docs_check $(args)

browser: ## Log in on /docs in a real Chromium and call the API (args="--picture backend/docs/images/docs.png" for the README)
	@$(DEV) -m scripts.browser $(args)

lock: ## Lock the newest packages that pyproject.toml allows
	@$(AUDIT) scripts/lock.py

# One lock after the other: they may hold different versions of a package.
audit: ## Ask whether a locked package has a known hole (needs the internet)
	@$(AUDIT) -c pass && for lock in base dev audit; do echo "requirements/$$lock.txt"; "$$py" -m pip_audit --strict \
		--require-hashes --disable-pip --progress-spinner off -r requirements/$$lock.txt || failed=1; done; exit $${failed:-0}

sbom: ## Write sbom.cdx.json: what the application is made of (CycloneDX)
	@$(AUDIT) -W ignore -m cyclonedx_py requirements requirements/base.txt --pyproject pyproject.toml --mc-type application \
		--output-reproducible --output-file sbom.cdx.json
