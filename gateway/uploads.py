"""The bytes of an uploaded file: the body itself, or the one file of a form; bounded twice.

The bound of JSON bodies does not count here, so this reads the stream itself: never more than
IMAGE_BYTES_MAX, never longer than the door says, and of a form never more than its length said.
"""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import BodyPartReader, web

from engine.errors import CallerError
from engine.limits import IMAGE_BYTES_MAX

FORM_PARTS_MAX = 5
FORM_BYTES_MAX = IMAGE_BYTES_MAX + 64 * 1024
"""A form's whole body: the file, and what else a page may send beside it."""

CHUNK_BYTES = 64 * 1024


async def read_file(request: web.Request, *, within_s: float) -> bytes:
    """The file. Raises CallerError: too_large, upload_timeout, invalid_request."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise CallerError("invalid_request", "Expected a body without Content-Encoding")
    is_form = request.content_type.startswith("multipart/")
    _check_length(request, FORM_BYTES_MAX if is_form else IMAGE_BYTES_MAX, needed=is_form)
    try:
        async with asyncio.timeout(within_s):
            if is_form:
                return await _of_form(request)
            return await _bounded(request.content.iter_chunked(CHUNK_BYTES))
    except TimeoutError as error:
        message = f"Expected the whole body within {within_s:g} s"
        raise CallerError("upload_timeout", message) from error


def _check_length(request: web.Request, most: int, *, needed: bool) -> None:
    length = request.content_length
    if length is None and needed:
        raise CallerError("invalid_request", "Expected a form with Content-Length")
    if length is not None and length > most:
        raise _too_large()


async def _of_form(request: web.Request) -> bytes:
    try:
        reader = await request.multipart()
        for _ in range(FORM_PARTS_MAX):
            part = await reader.next()
            if part is None:
                break
            if isinstance(part, BodyPartReader) and part.filename is not None:
                return await _bounded(_chunks(part))
    except (AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # All of what the form's reader says of one that is broken.
        raise CallerError("invalid_request", "Expected a readable form") from error
    raise CallerError("invalid_request", "Expected a form with one file in it")


async def _chunks(part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(CHUNK_BYTES):
        yield chunk


async def _bounded(chunks: AsyncIterator[bytes]) -> bytes:
    found = bytearray()
    async for chunk in chunks:
        found += chunk
        if len(found) > IMAGE_BYTES_MAX:
            raise _too_large()
    return bytes(found)


def _too_large() -> CallerError:
    return CallerError("too_large", f"Expected an image of at most {IMAGE_BYTES_MAX} bytes")
