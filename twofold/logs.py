"""Log lines: readable on a terminal, JSON elsewhere. Payloads are never logged."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog


class LossyLines:
    """stderr; a line that cannot be written is lost: a full disk or a pipe that nobody reads fails nothing that it tells of."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


def set_up(room: str, level: int = logging.INFO) -> None:
    """Called once by the process that is about to be a room. Lines below `level` are not written."""
    renderer = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, LossyLines())),
    )
    structlog.contextvars.bind_contextvars(process=room)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format=f"%(asctime)s {room} %(name)s %(levelname)s %(message)s")
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    logging.getLogger("dramatiq").setLevel(logging.CRITICAL)
