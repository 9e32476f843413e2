# Every target prepares what it needs; after the first time that takes no network and no time.
#
# Exit status: 0 when the program ended well, 2 when it did not (what make reports for any failed recipe). A make that is
# itself sent SIGINT or SIGTERM passes it on, waits for the program to end, and then ends by that signal (130 or 143 in a
# shell); no makefile can change that.

VENV := .venv/bin
MAIN := @sh commands/install.sh requirements/requirements.txt
DEV := @sh commands/install.sh requirements/dev.txt

.DEFAULT_GOAL := help
.PHONY: help install run dev call test lint check format bench audit up down clean

help: # lists the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-9s%s\n", $$1, $$2 }' Makefile

install: ## make .venv and install everything again
	$(MAIN) --again

run: ## start the server on 127.0.0.1:8080
	$(MAIN)
	@exec $(VENV)/python -I -S commands/under_make.py $(VENV)/relay serve $(ARGS)

dev: ## start it with a tunnel and the number connected; what is edited is live
	$(MAIN)
	@exec $(VENV)/python -I -S commands/under_make.py $(VENV)/relay dev $(ARGS)

call: ## talk to it in the terminal, as a caller (ARGS="--agent NAME")
	$(MAIN)
	@exec $(VENV)/relay call $(ARGS)

# What is compiled is kept: otherwise each worker, and each process that a test starts, compiles everything again.
test: ## lint, types and all tests
	$(DEV)
	@$(MAKE) --no-print-directory check
	PYTHONDONTWRITEBYTECODE= $(VENV)/pytest --numprocesses 5 --dist worksteal $(ARGS)

lint: ## lint and types
	$(DEV)
	@$(MAKE) --no-print-directory check

check:
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy

format: ## format the code and mend what the linter can
	$(DEV)
	$(VENV)/ruff check --fix .
	$(VENV)/ruff format .

bench: ## run the benchmarks
	$(MAIN)
	@exec $(VENV)/python -m benchmarks $(ARGS)

audit: ## look the pinned packages up among known vulnerabilities (needs the network)
	$(MAIN)
	@sh commands/audit.sh

up: ## start relay, Redis, Prometheus and Grafana with Docker
	@sh commands/services.sh up

down: ## stop them; asks whether their data goes too (VOLUMES=remove or keep)
	@sh commands/services.sh down $(VOLUMES)

clean: ## remove .venv and caches; data/ stays
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
