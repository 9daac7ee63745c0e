"""Command ids that a test can read: a name of up to 16 bytes, written as a UUID."""

from __future__ import annotations

import uuid

ID_BYTES = 16


def id_of(name: str) -> str:
    return str(uuid.UUID(bytes=name.encode().ljust(ID_BYTES, b"\0")))


def name_of(command_id: str) -> str:
    return uuid.UUID(command_id).bytes.rstrip(b"\0").decode()
