"""What the house shows of itself: the contract's metrics, and lag as users feel it.

Nothing inside the house knows that it is measured: the roof wraps ports (`observed`) and hands in the wrapped ones. Facts about
the whole system (head, lag, depth, members) come from one place, `facts`, which needs only the databases and so stays alive
when every projector is dead.
"""
