"""Are the tests good? A sample of small bugs, planted one at a time, each of which some test must notice.

    python -m tests.mutants --seed a --count 100         plant, run the tests that should notice, tell who survived

sites.py (every place a bug could be, drawn uniformly) ──> trial.py (a copy of the project with one bug, its tests) ──> verdicts
near.py (which tests run what, found by running them) ─────────^                harmless.py (bugs nobody could see, and why)
"""
