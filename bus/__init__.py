"""Carries commands, which may not be lost, and rings, which may. The only room that knows Dramatiq and RabbitMQ.

gateway ── Outbox ──> lane (RabbitMQ queue or table) ──> Transport ── Lanes ──> Delivery ──> Dramatiq's threads ── execute
Bell and Outcomes: LocalBell, LocalOutcomes in one process; RabbitBell between processes
"""
