"""Bodies: the right media type, not compressed, not too large, and here in time."""

from __future__ import annotations

import asyncio

from aiohttp import web

from twofold.gateway.http.problem import Problem

COMMAND_BYTES_MAX = 256 * 1024
BULK_BYTES_MAX = 4 * 1024 * 1024
BODY_SECONDS_MAX = 20.0

JSON = "application/json"
NDJSON = "application/x-ndjson"


async def read_body(request: web.Request, bytes_max: int) -> bytes:
    """The whole body. Raises Problem too-large or too-slow; the connection is closed then, for the rest is not read."""
    declared = request.content_length
    if declared is not None and declared > bytes_max:
        raise _too_large(bytes_max)
    content = request.content
    if content.is_eof():
        body = content.read_nowait()
        if len(body) > bytes_max:
            raise _too_large(bytes_max)
        return body
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            return await _gather(request, bytes_max)
    except TimeoutError as error:
        raise Problem("too-slow", f"the body did not arrive within {BODY_SECONDS_MAX:g} s", {"Connection": "close"}) from error


def media_type_of(request: web.Request, *accepted: str) -> str:
    """The body's media type, one of these. Raises Problem unsupported-media-type, also for compression and foreign charsets."""
    headers = request.headers
    if "Content-Encoding" in headers and headers["Content-Encoding"].lower() != "identity":
        raise Problem("unsupported-media-type", "compressed bodies are not accepted", {"Accept-Encoding": "identity"})
    declared = headers.get("Content-Type", "")
    if declared in accepted:
        return declared
    media_type, _, parameters = declared.partition(";")
    media_type = media_type.strip().lower()
    charset = parameters.replace('"', "").replace(" ", "").lower()
    if media_type not in accepted or charset not in ("", "charset=utf-8"):
        listed = " or ".join(accepted)
        raise Problem("unsupported-media-type", f"the body must be {listed}, in UTF-8", {"Accept": ", ".join(accepted)})
    return media_type


async def _gather(request: web.Request, bytes_max: int) -> bytes:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > bytes_max:
            raise _too_large(bytes_max)
    return bytes(body)


def _too_large(bytes_max: int) -> Problem:
    return Problem("too-large", f"the body is larger than {bytes_max} bytes", {"Connection": "close"})
