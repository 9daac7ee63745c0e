"""Real invoices as commands: `python -m twofold.shop.online_retail FILE.csv[.gz]`, a client of the HTTP API.

    FILE ── invoices.py ──> commands ── sending.py, through twofold.client ──> POST /commands, GET /commands/{id}

Every command has an idempotency key made of its invoice and what it does, so a replay that was cut off is simply started
again: what was accepted before is a duplicate.
"""

from pathlib import Path

SAMPLE = Path(__file__).parent.parent / "data" / "online-retail-2010-12.csv.gz"
"""One real month of 42,481 lines; where it comes from stands beside it."""
