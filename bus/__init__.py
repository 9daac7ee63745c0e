"""Carries commands, which may not be lost, and rings, which may. The only room that knows Dramatiq and RabbitMQ.

gateway ── outbox.py ── publisher.py ──> lane (queue or table) ──> transport.py ── dispatch/ ──> Dramatiq's threads
bell.py: rings, progress and outcomes. `rabbitmq/` and `embedded/` each have a publisher, a transport and a bell.
"""
