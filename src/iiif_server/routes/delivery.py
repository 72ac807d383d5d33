"""Bodies on their way to the client."""

from collections.abc import AsyncIterator
from typing import BinaryIO

from aiofiles.threadpool import wrap
from starlette.responses import Response, StreamingResponse

from iiif_server.pipeline.body import Body

_CHUNK = 1 << 18


def deliver(body: Body, media_type: str, headers: dict[str, str]) -> Response:
    """The answer that carries a body, with its length."""
    headers = {**headers, "Content-Length": str(body.length)}
    if body.file is None:
        return Response(body.data, media_type=media_type, headers=headers)
    return StreamingResponse(_chunks(body.file), media_type=media_type, headers=headers)


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    source = wrap(file)
    try:
        while chunk := await source.read(_CHUNK):
            yield chunk
    finally:
        file.close()  # here and now: whoever is cancelled has no other moment left
