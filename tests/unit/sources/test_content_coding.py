"""Decoding of bodies: whole, in small pieces, with a limit on both sides."""

import gzip
import random
import zlib
from collections.abc import AsyncIterator, Callable

import brotli
import pytest

from iiif_server.errors import OriginalTooLargeError, SourceUnavailableError
from iiif_server.sources.content_coding import decoded, decoder_of, zstd

DATA = random.Random(1).randbytes(300_000) + bytes(900_000)  # noqa: S311 - no secret


def raw_deflate(data: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return coder.compress(data) + coder.flush()


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "X-GZIP": gzip.compress,
    "deflate": zlib.compress,
    " deflate ": raw_deflate,
    "br": brotli.compress,
    "zstd": zstd.compress,
}


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def decode(
    coding: str, data: bytes, size: int = 1 << 16, limit: int = 1 << 30
) -> list[bytes]:
    decoder = decoder_of(coding)
    assert decoder is not None
    return [piece async for piece in decoded(pieces(data, size), decoder, limit)]


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("size", [1, 1000, 1 << 24])
async def test_what_was_encoded_is_decoded(coding: str, size: int) -> None:
    data = DATA if size > 1 else DATA[:2000]
    assert b"".join(await decode(coding, CODINGS[coding](data), size)) == data


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_bomb_comes_in_pieces(coding: str) -> None:
    bomb = CODINGS[coding](bytes(20_000_000))
    assert max(map(len, await decode(coding, bomb, 1 << 24))) <= 600_000


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("change", ["cut", "longer", "other", "empty"])
async def test_what_is_damaged_is_refused(coding: str, change: str) -> None:
    data = CODINGS[coding](DATA)
    damaged = {
        "cut": data[:-1],
        "longer": data + b"x",
        "other": b"\xff\xd8\xff" + data,
        "empty": b"",
    }[change]
    with pytest.raises(SourceUnavailableError, match="cannot be decompressed"):
        await decode(coding, damaged)


async def test_encoded_bytes_that_mean_nothing_are_limited() -> None:
    empty = zlib.compressobj(wbits=31)
    start = empty.compress(b"x") + empty.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(OriginalTooLargeError):
        await decode("gzip", start + b"\0\0\0\xff\xff" * 100_000, limit=400_000)


async def test_a_decoder_that_would_need_much_memory_is_refused() -> None:
    options = {
        int(zstd.CompressionParameter.window_log): 27,
        int(zstd.CompressionParameter.content_size_flag): 0,
    }
    coder = zstd.ZstdCompressor(options=options)
    data = coder.compress(DATA * 10) + coder.flush()
    with pytest.raises(SourceUnavailableError):
        await decode("zstd", data)


@pytest.mark.parametrize("coding", ["compress", "gzip, gzip", "identity, gzip", "*", "gzip;q=1"])
def test_other_codings_are_refused(coding: str) -> None:
    with pytest.raises(SourceUnavailableError, match="not supported"):
        decoder_of(coding)


@pytest.mark.parametrize("coding", ["", "identity", "Identity "])
def test_no_coding_needs_no_decoder(coding: str) -> None:
    assert decoder_of(coding) is None
