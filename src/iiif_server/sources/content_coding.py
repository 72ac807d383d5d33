"""Content codings of responses (RFC 9110, 8.4.1), decoded in pieces of limited size.

Limits are needed because a packet of a few bytes can decode to a hundred megabytes.
"""

import sys
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

import brotli

from iiif_server.errors import OriginalTooLargeError, SourceUnavailableError

__all__ = ["Decoder", "decoded", "decoder_of", "zstd"]

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_PIECE = 1 << 18
"""Approximate maximum number of bytes decoded at once."""
_MAX_WINDOW = 23
"""Binary logarithm of the largest zstd window: 8 MiB, as RFC 8878 recommends for all decoders."""
_ZLIB_HEADER_LIMIT = 2


class Decoder(Protocol):
    """Decoder of one body with one content coding."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Decode bytes, in pieces. Raises the error of the library if the data is invalid."""

    @property
    def is_complete(self) -> bool:
        """Whether the decoder has reached the end of the coding, without trailing bytes."""


class _Zlib:
    """Decoder of gzip and deflate; deflate with a zlib header or, as some servers send it, raw."""

    def __init__(self, window_bits: int) -> None:
        self._may_be_raw = window_bits == zlib.MAX_WBITS
        self._decoder = zlib.decompressobj(window_bits)
        self._start = b""
        self._has_more = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        if self._may_be_raw:
            data = self._start + data
            if len(data) < _ZLIB_HEADER_LIMIT:
                self._start = data
                return
            self._may_be_raw = False
            if int.from_bytes(data[:2]) % 31 or data[0] & 0x0F != zlib.DEFLATED:
                self._decoder = zlib.decompressobj(-zlib.MAX_WBITS)
        while data and not self._decoder.eof:
            yield self._decoder.decompress(data, _PIECE)
            data = self._decoder.unconsumed_tail
        self._has_more = bool(data or self._decoder.unused_data)

    @property
    def is_complete(self) -> bool:
        return self._decoder.eof and not self._has_more


class _Brotli:
    def __init__(self) -> None:
        self._decoder = brotli.Decompressor()

    def decode(self, data: bytes) -> Iterator[bytes]:
        piece = self._decoder.process(data, output_buffer_limit=_PIECE)
        while piece or not self._decoder.can_accept_more_data():
            yield piece
            piece = self._decoder.process(b"", output_buffer_limit=_PIECE)

    @property
    def is_complete(self) -> bool:
        return bool(self._decoder.is_finished())


class _Zstandard:
    def __init__(self) -> None:
        options = {int(zstd.DecompressionParameter.window_log_max): _MAX_WINDOW}
        self._decoder = zstd.ZstdDecompressor(options=options)

    def decode(self, data: bytes) -> Iterator[bytes]:
        yield self._decoder.decompress(data, _PIECE)
        while not (self._decoder.eof or self._decoder.needs_input):
            yield self._decoder.decompress(b"", _PIECE)

    @property
    def is_complete(self) -> bool:
        return self._decoder.eof and not self._decoder.unused_data


_ERRORS = (zlib.error, brotli.error, zstd.ZstdError, EOFError)


def decoder_of(coding: str) -> Decoder | None:
    """Decoder for a `Content-Encoding`; None for identity. Raises SourceUnavailableError."""
    match coding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            return _Zlib(zlib.MAX_WBITS | 16)
        case "deflate":
            return _Zlib(zlib.MAX_WBITS)
        case "br":
            return _Brotli()
        case "zstd":
            return _Zstandard()
    raise SourceUnavailableError(
        "The upstream server sends the original compressed in a way that is not supported, "
        "although asked not to compress it."
    )


async def decoded(
    pieces: AsyncIterator[bytes], decoder: Decoder, limit: int
) -> AsyncIterator[bytes]:
    """Decode a body as its bytes arrive, in pieces of at most about 256 KiB.

    Raises OriginalTooLargeError above `limit` encoded bytes, as these may decode to none. Raises
    SourceUnavailableError if the coding is invalid or truncated.
    """
    size = 0
    try:
        async for encoded in pieces:
            size += len(encoded)
            if size > limit:
                raise OriginalTooLargeError("The compressed original is larger than is fetched.")
            for piece in decoder.decode(encoded):
                if piece:
                    yield piece
    except _ERRORS as error:
        raise _invalid() from error
    if not decoder.is_complete:
        raise _invalid()


def _invalid() -> SourceUnavailableError:
    return SourceUnavailableError(
        "The upstream server sends the original compressed, and it cannot be decompressed."
    )
