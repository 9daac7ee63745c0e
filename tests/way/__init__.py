"""The way of a command, found by sending some: `python -m tests.way` writes docs/the-way-of-a-command.md from what really ran.

traced.py (a room with a tracer in it) ──> calls, with times ──> walk.py (what every command passes) ──> page.py
"""
