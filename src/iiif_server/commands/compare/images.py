"""Comparison of one image from two servers."""

import asyncio
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import quote

import httpx
from PIL import Image, ImageChops, ImageStat

_LONGEST = 64_000_000
"""Limit of the bytes of a response."""
_SIDE = 400
_TILE = 512
_ROUNDING = 1
"""Allowed difference in pixels, because servers round sizes differently."""


class Outcome(StrEnum):
    """Outcome of the comparison of one image."""

    EQUAL = "equal"
    DIFFERENT = "different"
    FAILED = "failed"


@dataclass(slots=True)
class Comparison:
    """Result of the comparison of one image."""

    identifier: str
    outcome: Outcome = Outcome.EQUAL
    differences: list[str] = field(default_factory=list)
    """Differences as text; empty if the images are equal."""
    requests: int = 0
    """Number of compared requests."""

    def differ(self, what: str) -> None:
        """Add a difference."""
        self.outcome = Outcome.DIFFERENT
        self.differences.append(what)


class FailedError(Exception):
    """The response of a server cannot be compared."""


@dataclass(frozen=True, slots=True)
class Server:
    """Server under comparison."""

    client: httpx.AsyncClient = field(repr=False)
    url: str

    async def get(self, path: str) -> tuple[int, bytes]:
        """Return status and body; raises FailedError if the server does not respond."""
        body = bytearray()
        try:
            async with self.client.stream("GET", f"{self.url}/{path}") as response:
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > _LONGEST:
                        raise FailedError(f"{self.url} sends more than {_LONGEST:,} bytes")
                return response.status_code, bytes(body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise FailedError(f"{self.url}: {type(error).__name__} {error}".strip()) from error


async def compare_image(old: Server, new: Server, identifier: str, tolerance: float) -> Comparison:
    """Compare an image; never raises."""
    result = Comparison(identifier)
    # Encodes characters that are invalid in URLs; percent-encoded ones stay as they are.
    written = quote(identifier, safe="%/:@!$&'()*+,;=~")
    try:
        dimensions = await _compare_information(old, new, written, result)
        for parameters in _requests(*dimensions) if dimensions else ():
            path = f"{written}/{parameters}/0/default.jpg"
            await _compare_pixels(old, new, path, tolerance, result)
    except FailedError as error:
        result.outcome = Outcome.FAILED
        result.differences.append(str(error))
    return result


async def _compare_information(
    old: Server, new: Server, written: str, result: Comparison
) -> tuple[int, int] | None:
    """Compare info.json; return the dimensions if both servers report the same, else None."""
    result.requests += 1
    path = f"{written}/info.json"
    (status, before), (other, after) = await asyncio.gather(old.get(path), new.get(path))
    if status != other:
        result.differ(f"info.json: status {status}, now {other}")
    if not (status == other == httpx.codes.OK):
        return None
    sizes = _dimensions(old, before), _dimensions(new, after)
    if sizes[0] != sizes[1]:
        result.differ("info.json: {}x{}, now {}x{}".format(*sizes[0], *sizes[1]))
        return None
    return sizes[0]


def _dimensions(server: Server, body: bytes) -> tuple[int, int]:
    try:
        document: Any = json.loads(body)
        width, height = int(document["width"]), int(document["height"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise FailedError(f"{server.url} sends an info.json without width and height") from error
    if min(width, height) < 1:
        raise FailedError(f"{server.url} sends an info.json with {width}x{height}")
    return width, height


def _requests(width: int, height: int) -> Iterator[str]:
    """Yield region and size of the compared requests, valid in both versions of the Image API."""
    side = min(_SIDE, max(width, height))
    yield f"full/!{side},{side}"
    across, down = min(_TILE, width), min(_TILE, height)
    corners = {
        (0, 0),
        ((width - across) // 2, (height - down) // 2),
        (width - across, height - down),
    }
    if (across, down) != (width, height):
        yield from (f"{x},{y},{across},{down}/{across}," for x, y in sorted(corners))


async def _compare_pixels(
    old: Server, new: Server, path: str, tolerance: float, result: Comparison
) -> None:
    result.requests += 1
    what = "/".join(path.rsplit("/", 4)[1:3])
    (status, before), (other, after) = await asyncio.gather(old.get(path), new.get(path))
    if status != other:
        result.differ(f"{what}: status {status}, now {other}")
    if not (status == other == httpx.codes.OK):
        return
    # In a thread, so that other responses can arrive while images are decoded.
    text = await asyncio.to_thread(_difference, _named(old, before), _named(new, after), tolerance)
    if text:
        result.differ(f"{what}: {text}")


def _named(server: Server, body: bytes) -> tuple[str, bytes]:
    return server.url, body


def _difference(old: tuple[str, bytes], new: tuple[str, bytes], tolerance: float) -> str:
    """Describe the difference of two images; empty if they are equal within the tolerance."""
    one, other = _decoded(*old), _decoded(*new)
    if any(abs(a - b) > _ROUNDING for a, b in zip(one.size, other.size, strict=True)):
        return "{}x{} pixels, now {}x{}".format(*one.size, *other.size)
    if one.size != other.size:
        other = other.resize(one.size)
    mean = max(ImageStat.Stat(ImageChops.difference(one, other)).mean)
    return f"pixels differ by {mean:.1f} of 255 on average" if mean > tolerance else ""


def _decoded(url: str, body: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(body), formats=["JPEG", "PNG", "WEBP", "GIF"]) as image:
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        text = re.sub(r"<[^>]*>", "", str(error))
        raise FailedError(f"{url} sends an image that cannot be decoded: {text}") from error
