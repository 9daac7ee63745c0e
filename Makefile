# Every target may be repeated; each makes what it needs first. PYTHON=… names another interpreter, ARGS=… is handed on.
.DEFAULT_GOAL := help
.PHONY: help setup run test servers check format bench chaos up why down lock clean
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

# Several gateways stand behind a proxy; compose reads an override file by itself only when no file is named.
GATEWAYS = $(if $(findstring gateway=,$(SCALE) $(ARGS)),docker-compose.yml docker-compose.gateways.yml $(wildcard docker-compose.override.y*ml))
COMPOSE = docker compose $(addprefix --file ,$(GATEWAYS))
UP_SECONDS ?= 300
# An image that says when it was built would be another one each time, and every container with it.
export BUILDX_NO_DEFAULT_ATTESTATIONS = 1

up: ## the served system in containers, until all is healthy; SCALE="--scale workers=4 --scale gateway=3", UP_SECONDS=300
	@./setup secrets
	@$(COMPOSE) build --quiet
	@timeout --foreground --kill-after=20 $(UP_SECONDS) $(COMPOSE) up --detach --wait --no-build --remove-orphans $(SCALE) $(ARGS) || { \
		if [ $$? = 124 ]; then echo "make up: not healthy within $(UP_SECONDS) s (UP_SECONDS=…); it goes on, look again with make why" >&2; fi; \
		$(MAKE) --no-print-directory why; exit 1; }
	@at() { $(COMPOSE) port $$1 $$2 2>/dev/null || $(COMPOSE) port proxy $$2; }; \
		echo "console http://$$(at gateway 8080)/console   Grafana http://$$(at grafana 3000) (admin, .secrets/grafana_password)"; \
		echo "API     http://$$(at gateway 8080)/docs      Prometheus http://$$(at prometheus 9090)   RabbitMQ http://$$(at rabbitmq 15672)"

why: ## say which containers are not well, and what they said last
	@$(COMPOSE) ps --all --format '{{.Service}} {{.State}} {{.ExitCode}} {{.Health}}' | sort -u | while read -r service state code health; do \
		case "$$state $$code $$health" in created*|"running 0 "|"running 0 healthy"|"exited 0 "*) continue ;; esac; \
		echo "$$service: $$state $$health, exit status $$code" >&2; \
		$(COMPOSE) logs --no-log-prefix --tail 20 "$$service" >&2 </dev/null; done

down: ## stop the containers; the data stays
	@docker compose down --remove-orphans $(ARGS)

LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	--custom-compile-command "make lock" pyproject.toml

lock: ## renew the locks from pyproject.toml; ARGS=--upgrade takes the newest (needs uv)
	@$(LOCK) --group install --output-file requirements.lock $(ARGS)
	@$(LOCK) --group dev --constraint requirements.lock --output-file requirements-dev.lock $(ARGS)

clean: ## remove .venv and what the tools leave behind; data stays
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info src/*.egg-info build dist bench/results
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
