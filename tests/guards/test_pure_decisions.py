"""Law 4: no metric, log line or span in kernel and shop, and nothing in a domain that could answer differently the second time.

`twofold.shop.online_retail` is a client that happens to live beside the domain: it speaks HTTP and shows a progress bar.
`twofold.shop.outside` is whom the shop's effects ask; nothing else of the shop knows it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from tests.guards.house import Source, imports, room_sources, sources_below

OBSERVERS = {"logging", "structlog", "prometheus_client", "opentelemetry", "warnings", "syslog", "monitoring"}
WORLD = {
    "os",
    "io",
    "time",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "threading",
    "asyncio",
    "http",
    "urllib",
    "pathlib",
    "sys",
}
IDS = "kernel/ids.py"
"""Makes command ids, for the gateway: time and randomness are its trade."""
EFFECTS = "shop/effects.py"
NOW = {"now", "utcnow", "today"}


def violations(sources: Iterable[Source]) -> list[str]:
    found = []
    for source in sources:
        if source.path.startswith(("shop/online_retail", "shop/outside")):
            continue
        if source.room == "shop" and source.path != EFFECTS:
            met = [(line, module) for line, module in imports(source) if module.startswith("twofold.shop.outside")]
            found += [f"{source.path}:{line} imports {module}" for line, module in met]
        forbidden = OBSERVERS | (WORLD if is_domain(source) else set())
        found += [
            f"{source.path}:{line} imports {module}" for line, module in imports(source) if module.split(".", 1)[0] in forbidden
        ]
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.Call):
                continue
            if isinstance(node.func, ast.Name) and node.func.id in ("print", "open", "input"):
                found.append(f"{source.path}:{node.lineno} calls {node.func.id}")
            elif is_domain(source) and isinstance(node.func, ast.Attribute) and node.func.attr in NOW:
                found.append(f"{source.path}:{node.lineno} asks for the time")
    return found


def is_domain(source: Source) -> bool:
    return source.path.startswith(("shop/", "examples/"))


def test_kernel_and_domains_observe_nothing_and_ask_nothing_of_the_world() -> None:
    sources = [source for source in room_sources() if source.room in ("kernel", "shop") and source.path != IDS]
    assert violations([*sources, *sources_below("examples")]) == []


def test_the_guard_sees_a_log_line_a_clock_and_a_die() -> None:
    planted = [
        Source("kernel/a.py", "import logging\n"),
        Source("shop/b.py", "from datetime import datetime\ndef decide(state, command):\n    return datetime.now()\n"),
        Source("shop/views/c.py", "def evolve(row, event, about):\n    import random\n    print(row)\n"),
        Source("shop/online_retail/d.py", "import time\n"),
        Source("shop/outside/e.py", "import time\n"),
        Source("shop/order/f.py", "from twofold.shop.outside.provider import PaymentProvider\n"),
    ]
    assert violations(planted) == [
        "kernel/a.py:1 imports logging",
        "shop/b.py:3 asks for the time",
        "shop/views/c.py:2 imports random",
        "shop/views/c.py:3 calls print",
        "shop/order/f.py:1 imports twofold.shop.outside.provider",
    ]
