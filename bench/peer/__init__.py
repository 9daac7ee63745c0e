"""The hand-made peer: what a careful team writes without this house, from the same libraries.

aiohttp → a Dramatiq actor on RabbitMQ, published with confirms → one SQLAlchemy transaction per command → a second actor that
upserts the view's row. Command, decider, event and row are the shop's own; only the plumbing is different.
"""
