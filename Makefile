# Everything there is to learn. Each target installs what it needs.
.DEFAULT_GOAL := help
.PHONY: help demo drill load measured test lint unit rounds bench clean

help: ## Show this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Build the lab and converge the whole stack on it
	@lab/demo.sh

drill: ## Break the demo lab on purpose, each fault once; FAULT=app_kill: that one; FAULT=disaster: all but the backups
	@lab/drill.sh

load: ## Measure what the demo lab gives under load
	@lab/load.sh

measured: ## Write docs/measured.md from the last drill and the last load test
	@lab/measured.sh

test: ## Lint, unit tests, then every scenario on a lab of its own
	@tests/run.sh

lint: ## Lint alone
	@tests/run.sh lint

unit: ## Unit tests alone
	@tests/run.sh unit

rounds: ## A cluster of two, many handovers: longer than CI has time for
	@tests/rounds.sh

bench: ## Measure how long things take, on the demo lab
	@tests/bench.sh

clean: ## Remove labs, images, secrets and caches
	@lab/clean.sh
