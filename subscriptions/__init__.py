"""How anything follows the log: projections, processes, a relay.

LogPages ──> LogCache (read once, decoded once, for all) ──> Subscription (whose turn it is, how fast) ──> a Reader's steps
"""
