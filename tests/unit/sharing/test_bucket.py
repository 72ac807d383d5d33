"""Bucket of the shared cache, on a store in memory or one that fails."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from obstore.store import MemoryStore, S3Store

from iiif_server.errors import SharedCacheUnavailableError
from iiif_server.sharing.breaker import CircuitBreaker
from iiif_server.sharing.bucket import Bucket, Found
from iiif_server.sharing.objects import unwrapped, wrapped
from iiif_server.telemetry.events import Event, SharedCacheFailed, SharedCacheRecovered

events: list[Event] = []


@pytest.fixture
def bucket() -> Bucket:
    events.clear()
    return Bucket(MemoryStore(), "a/prefix", events.append, timeout=5)


def failing(**options: Any) -> Any:
    return S3Store(
        "bucket",
        endpoint="http://127.0.0.1:9",
        access_key_id="a",
        secret_access_key="b",  # noqa: S106
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
        **options,
    )


async def whole(chunks: AsyncIterator[Found]) -> bytes:
    return b"".join([chunk.data async for chunk in chunks])


def test_an_object_is_written_once_and_read_in_parts(bucket: Bucket) -> None:
    async def use() -> None:
        await bucket.put("x/y", b"0123456789")
        await bucket.put("x/y", b"another")
        assert await bucket.has("x/y")
        assert not await bucket.has("x/z")
        found = await bucket.get("x/y")
        assert found is not None
        assert (found.data, found.size) == (b"0123456789", 10)
        middle = await bucket.get("x/y", (2, 5), tag=found.tag)
        assert middle is not None
        assert middle.data == b"234"
        end = await bucket.get("x/y", 3)
        assert end is not None
        assert (end.data, end.size) == (b"789", 10)
        assert await bucket.get("x/y", (2, 5), tag='"another"') is None
        assert await bucket.get("x/z") is None
        assert await whole(bucket.chunks("x/y", 5)) == b"0123456789"
        assert await whole(bucket.chunks("x/z", 5)) == b""
        await bucket.put("x/y", b"new", replace=True)
        assert await whole(bucket.chunks("x/y", 5)) == b"new"
        assert [item.name for item in await bucket.listed("x")] == ["x/y"]
        assert await bucket.content("x/y") == b"new"
        await bucket.remove_below("x")
        assert await bucket.content("x/y") == b""
        assert await bucket.listed("x") == []
        await bucket.remove(["x/y"])

    asyncio.run(use())
    assert bucket.counts.failures == 0
    assert events == []


def test_a_large_object_is_written_piece_by_piece(bucket: Bucket) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(30):
            yield bytes([number]) * 500_000

    async def use() -> bytes:
        await bucket.put("large", pieces())
        return await whole(bucket.chunks("large", 5))

    data = asyncio.run(use())
    assert len(data) == 15_000_000
    assert data[-1] == 29


def test_a_store_that_fails_is_reported_once_and_left_alone_until_it_works() -> None:
    events.clear()
    clock = [0.0]
    breaker = CircuitBreaker(failures=2, clock=lambda: clock[0])
    bucket = Bucket(failing(), "", events.append, timeout=5, breaker=breaker)

    async def use() -> None:
        assert await bucket.get("x") is None
        assert await whole(bucket.chunks("x", 5)) == b""
        assert breaker.state == "open"
        await bucket.put("x", b"data")
        assert not await bucket.has("x")
        assert await whole(bucket.chunks("x", 5)) == b""
        assert bucket.counts.failures == 2, "an open breaker lets nothing through"
        with pytest.raises(SharedCacheUnavailableError):
            await bucket.listed("x")
        with pytest.raises(SharedCacheUnavailableError):
            await bucket.write("x", b"")
        with pytest.raises(SharedCacheUnavailableError):
            await bucket.content("x")
        await bucket.discard("x")
        bucket._store = MemoryStore()
        clock[0] = 100
        await bucket.put("x", b"data")

    asyncio.run(use())
    assert [type(event) for event in events] == [SharedCacheFailed, SharedCacheRecovered]


def test_a_store_without_conditional_writes_is_written_all_the_same() -> None:
    bucket = Bucket(failing(conditional_put="disabled"), "", events.append, timeout=5)
    asyncio.run(bucket.put("x", b"data"))
    assert bucket.counts.failures == 1, "the second, unconditional request fails here"


def test_a_store_that_is_silent_costs_its_deadline() -> None:
    async def use() -> None:
        store = S3Store(
            "bucket",
            endpoint=f"http://127.0.0.1:{port}",
            access_key_id="a",
            secret_access_key="b",  # noqa: S106
            client_options={"allow_http": True},
        )
        bucket = Bucket(store, "", lambda _: None, timeout=0.05)
        assert await bucket.get("x") is None
        assert await whole(bucket.chunks("x", 0.05)) == b""
        assert bucket.counts.failures == 2

    # Connections wait in the backlog of the listener, and nobody answers.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        asyncio.run(use())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data[:30] + bytes([data[30] ^ 1]) + data[31:],
        lambda data: b"x" + data[1:],
        lambda data: data[:5],
        lambda _: b"",
    ],
)
def test_a_trailer_tells_what_is_not_what_was_written(spoil: Any) -> None:
    data = wrapped("name", b"some content of an image")
    assert unwrapped("name", data) == b"some content of an image"
    assert unwrapped("name", spoil(data)) is None
    assert unwrapped("another name", data) is None
