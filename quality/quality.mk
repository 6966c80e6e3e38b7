# Included by the Makefile while this folder is there. Its tools come from the dependency group "quality".

CODE += quality
QUALITY = $(NEEDS_PYTHON) py=$$($(PYTHON) scripts/bootstrap.py quality) && "$$py"

.PHONY: quality quality-full eject-quality quality-lint quality-test lint-repo docs-check attack fuzz proxy-profile chaos leaks bench mutants browser clients deploy-check deploy-drill backup-drill migration-check

##@ Quality (quality/README.md)

quality: ## Run the fast subset of all that follows (needs PostgreSQL and Redis; args="--only fuzz chaos")
	@$(QUALITY) -m quality $(args)

quality-full: ## Run all of it
	@$(QUALITY) -m quality --full $(args)

eject-quality: ## Remove the drawer: its folder, workflow, dependencies, lock and the links to it
	@$(NEEDS_PYTHON) $(PYTHON) quality/eject.py

quality-lint: ## Check types in the drawer
	@$(QUALITY) -m mypy quality

quality-test: ## Run the tests of the drawer: hostile input, and what files say (args="-k login")
	@$(NEEDS_PYTHON) py=$$($(PYTHON) scripts/bootstrap.py quality) && cd quality && "$$py" -m pytest -n auto -m "not slow" $(args)

lint-repo: ## Check workflows, Dockerfile, Compose file and shell scripts, and look for secrets in all of git
	@$(QUALITY) -m quality.repository.lint_repo $(args)

docs-check: ## Look up every name in the documents, run their commands on a fresh clone, follow the recipe (args=--whole)
	@$(QUALITY) -m quality.repository.docs_check $(args)

attack: ## Attack a running server over its socket (args=--quick, args="--only A-07 A-51")
	@$(QUALITY) -m quality.adversarial $(args)

fuzz: ## Generate valid and mutated requests (args=--quick, args="--seed 7 --case 1234")
	@$(QUALITY) -m quality.fuzz $(args)

proxy-profile: ## Attack the application behind the shipped nginx, slow clients first of all (args=--quick)
	@$(QUALITY) -m quality.proxy $(args)

chaos: ## Break Redis, PostgreSQL and more and measure what clients notice (args=--quick, args="--only redis postgres")
	@$(QUALITY) -m quality.resilience $(args)

leaks: ## Send 200,000 good and bad requests and compare memory before and after (args=--quick)
	@$(QUALITY) -m quality.resilience --only leaks $(args)

bench: ## Compare throughput with the least code that does the same (args=--quick)
	@$(QUALITY) -m quality.benchmarks $(args)

mutants: ## Mutation testing: whether a test notices a change of the code (args="auth/jwt.py")
	@$(QUALITY) -m quality.mutation $(args)

browser: ## Log in on /docs in a real Chromium and call the API (args="--picture backend/docs/images/docs.png" for the README)
	@$(QUALITY) -m quality.browser $(args)

clients: ## Generate two clients from the OpenAPI document, and walk the API with them (needs Node.js and the registries)
	@$(QUALITY) -m quality.clients

deploy-check: ## Render and check deploy/ without a cluster, and scrape a running application and worker with Prometheus
	@$(QUALITY) -m quality.deploy

deploy-drill: ## Release four times under load behind nginx, and four times what cannot be released (args="--releases 20")
	@$(QUALITY) -m quality.deploy.drill $(args)

backup-drill: ## Dump and restore 100,000 accounts
	@$(QUALITY) -m quality.deploy.backup

BASE = origin/main
migration-check: ## Check that the release before serves on the new schema (BASE=origin/main)
	@$(QUALITY) -m quality.deploy.migrations $(BASE)
