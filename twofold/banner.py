"""What `twofold up` says when it is ready: where to look, and three lines to copy. Replays the sample month when asked to."""

from __future__ import annotations

import os
import subprocess
import sys
from types import TracebackType

from twofold.settings import SHOP, Settings

SAMPLE_RATE = 40
"""Commands a second: the month takes about a minute, slow enough to watch and to ask questions meanwhile."""
STOP_SECONDS = 10.0


class Banner:
    """Holds the replaying child, if there is one, and ends it with the block."""

    def __init__(self, settings: Settings, sample: bool) -> None:
        host = "localhost" if settings.host in ("127.0.0.1", "0.0.0.0", "::", "::1") else settings.host
        self._url = f"http://{host}:{settings.port}"
        self._domain = settings.domain
        self._sample = sample
        self._cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
        self._replay: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Banner:
        return self

    def show(self) -> None:
        """Called when the gateway listens."""
        print(self._text(), flush=True)
        if self._sample:
            from twofold.shop.online_retail import SAMPLE

            command = [
                sys.executable,
                "-P",
                "-m",
                "twofold.shop.online_retail",
                str(SAMPLE),
                "--url",
                self._url,
                "--rate",
                str(SAMPLE_RATE),
            ]
            self._replay = subprocess.Popen(command, stdin=subprocess.DEVNULL)
            if self._cores is not None:
                os.sched_setaffinity(self._replay.pid, self._cores)  # not the one core this process stays on

    def _text(self) -> str:
        lines = [
            "",
            "  Twofold is up.",
            "",
            f"  console   {self._url}/console",
            f"  API docs  {self._url}/docs",
            f"  metrics   {self._url}/metrics",
            "",
        ]
        if self._domain in SHOP:
            post = "-H 'Content-Type: application/json' -H 'Prefer: wait=5'"
            lines += [
                "  Try, in another terminal:",
                "",
                f"    curl -s {self._url}/views/sales_by_day/2010-12-01",
                f"    curl -s '{self._url}/views/product_sales?order=-gross&limit=3'",
                f"""    curl -s {self._url}/commands/AdjustStock {post} -d '{{"sku":"85123A","quantity":12,"reason":"found"}}'""",
                "",
            ]
        return "\n".join([*lines, "  Ctrl-C stops it; started again, it goes on from its data.", ""])

    def __exit__(self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._replay is not None and self._replay.poll() is None:
            self._replay.terminate()
            try:
                self._replay.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._replay.kill()
                self._replay.wait()
