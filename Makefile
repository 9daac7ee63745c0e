# Every target may be repeated; each makes what it needs first. PYTHON=… names another interpreter, ARGS=… is handed on.
.DEFAULT_GOAL := help
.PHONY: help setup run test servers check format bench chaos up down lock clean
ARGS ?=

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv with the locked packages, for running and for developing
	@./setup dev

run: ## run the whole system, embedded, with a month of real orders flowing in; Ctrl-C stops it
	@./setup runtime
	@exec .venv/bin/twofold up --sample $(ARGS)

servers: setup ## see to it that PostgreSQL, PgBouncer, RabbitMQ, Redis and Chromium are there for the tests
	@.venv/bin/python -m tests.servers install

test: servers ## run every test, against real servers; two files at a time, each with servers of its own
	@.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0 $(ARGS)

check: setup ## format, lint, types, unit tests and the laws of the house: under a minute
	@.venv/bin/ruff format --quiet --check .
	@.venv/bin/ruff check --quiet .
	@.venv/bin/mypy
	@.venv/bin/python -m pytest -q tests/unit tests/guards $(ARGS)

format: setup ## put the code in its form
	@.venv/bin/ruff check --quiet --fix-only .
	@.venv/bin/ruff format --quiet .

bench: servers ## measure: one table, with peers, on this machine
	@.venv/bin/python -m bench $(ARGS)

chaos: servers ## hurt the served system under load, many times, and check what it promised
	@.venv/bin/python -m tests.chaos $(ARGS)

up: ## the served system in containers (docker compose); SCALE="--scale workers=2"
	@./setup secrets
	@docker compose up --build --detach $(SCALE) $(ARGS)
	@echo "console http://127.0.0.1:8080/console   Grafana http://127.0.0.1:3000 (admin, .secrets/grafana_password)"

down: ## stop the containers; the data stays
	@docker compose down $(ARGS)

LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	--custom-compile-command "make lock" pyproject.toml

lock: ## renew the locks from pyproject.toml; ARGS=--upgrade takes the newest (needs uv)
	@$(LOCK) --group install --output-file requirements.lock $(ARGS)
	@$(LOCK) --group dev --constraint requirements.lock --output-file requirements-dev.lock $(ARGS)

clean: ## remove .venv and what the tools leave behind; data stays
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info src/*.egg-info build dist bench/results
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
