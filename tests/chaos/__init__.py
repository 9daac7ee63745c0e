"""Faults on purpose: load, a fault in the middle, and a checker that compares what clients were told with what the stores hold.

    client.Load ──202──> record.Record ─┐
                                         ├──> checker.Checker ──> violations
    stores.Stores (plain SQL, Redis) ────┘

`python -m tests.chaos` runs every scenario many times; `tests/system/faults/test_faults.py` runs each once.
"""
