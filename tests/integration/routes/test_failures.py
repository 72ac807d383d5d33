"""Internal errors of the server, and requests without a response."""

import io
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import pytest_asyncio
from PIL import Image

from iiif_server.images.body import IN_MEMORY, Body
from support.apps import (
    Server,
    assert_problem,
    get_scope,
    picture,
    running_app,
    settings_below,
    stable_headers,
)
from support.servers import ADMIN_TOKEN
from support.waiting import async_wait_until

IMAGE = "/disk:pic.jpg/full/90,/0/default.jpg"
INFORMATION = "/disk:pic.jpg/info.json"


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    settings = settings_below(
        tmp_path, types={"disk": {"source": "disk"}}, cache={"memory_bytes": 1_000_000}
    )
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", picture())
        server.put("disk", "large.png", picture(2000, 1500, "PNG"))
        yield server


async def failures(server: Server) -> float:
    """How many answers with status 500 are counted."""
    text = (await server.get("/metrics", Authorization=f"Bearer {ADMIN_TOKEN}")).text
    lines = [line for line in text.split("\n") if line.startswith("iiif_requests_total")]
    return sum(float(line.rpartition(" ")[2]) for line in lines if 'status="500"' in line)


def broken(key: object) -> None:
    """The look-up of a cache with a fault."""
    raise ZeroDivisionError(str(key))


@pytest.mark.parametrize("path", [IMAGE, INFORMATION])
async def test_a_fault_in_front_of_the_routes_is_a_500_as_any_other(
    server: Server,
    path: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await server.get(path)
    before = await failures(server)
    caplog.set_level(logging.INFO)
    with monkeypatch.context() as patched:
        patched.setattr(server.services.responses, "get", broken)
        answer = await server.get(path)
    sentence = assert_problem(answer, 500)
    assert "log" in sentence
    (error,) = [record for record in caplog.records if record.exc_info]
    assert error.exc_info is not None
    assert error.exc_info[0] is ZeroDivisionError
    (line,) = [record for record in caplog.records if record.name == "iiif_server.access"]
    assert " 500 " in line.getMessage()
    assert line.request == answer.headers["x-request-id"]  # type: ignore[attr-defined]
    assert await failures(server) == before + 1


async def test_what_the_edge_has_found_out_is_answered_by_the_application(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await server.get(IMAGE)
    scope = get_scope(IMAGE)
    with monkeypatch.context() as patched:
        patched.setattr(server.services.responses, "get", broken)
        assert server.app.state.direct(scope) is None
    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await server.app(scope, None, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 500
    assert [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PROPFIND"])
@pytest.mark.parametrize("path", [IMAGE, INFORMATION, "/", "/status", "/disk:none/info.json"])
@pytest.mark.parametrize("content", [b"", b"abc"])
async def test_other_methods_are_told_which_are_answered(
    server: Server, method: str, path: str, content: bytes
) -> None:
    await server.get(path)
    answer = await server.client.request(method, path, content=content)
    assert_problem(answer, 405, "GET, HEAD and OPTIONS")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert answer.headers["connection"] == "close"


async def test_preflights_allow_what_the_wildcard_does_not_cover(server: Server) -> None:
    answer = await server.client.options(IMAGE)
    allowed = answer.headers["access-control-allow-headers"].lower().replace(" ", "").split(",")
    assert set(allowed) == {"*", "authorization"}


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/disk:a%252Fb.jpg/info.json", "%252F"),
        ("/disk:a%252fb.jpg/full/max/0/default.jpg", "%252f"),
        ("/iiif/2/disk:a%2520b.jpg/info.json", "%2520"),
        ("/disk:a%2Fb.jpg/info.json", None),
        ("/disk:a%25.jpg/info.json", None),
    ],
)
async def test_what_is_encoded_twice_is_not_found_with_a_hint(
    server: Server, path: str, hint: str | None
) -> None:
    sentence = assert_problem(await server.get_raw(path.encode()), 404)
    assert ("encode" in sentence) == (hint is not None)
    if hint is not None:
        assert hint in sentence


async def test_a_name_that_really_has_a_percent_sign_is_found(server: Server) -> None:
    server.put("disk", "a%2Fb.jpg", picture())
    assert (await server.get_raw(b"/disk:a%252Fb.jpg/info.json")).status_code == 200


class Unread(io.RawIOBase, BinaryIO):
    """A file that nobody may read, in front of one that is closed with it."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file

    def read(self, _: int = -1) -> bytes:
        raise AssertionError

    def close(self) -> None:
        self._file.close()
        super().close()


@pytest.mark.parametrize("rest", ["full/max/0/default.jpg", "full/^2100,/0/default.png"])
async def test_a_head_reads_nothing_of_a_large_body(
    server: Server, rest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = Image.effect_noise((1800, 1400), 80).convert("RGB")
    noise.save(server.original_path("disk", "noise.jpg"), quality=95)
    path = f"/disk:noise.jpg/{rest}"
    whole = await server.get(path)
    assert len(whole.content) > IN_MEMORY
    opened: list[BinaryIO] = []

    derivatives = server.services.derivatives
    make = derivatives.body

    async def watched(resolved: Any, *, by_path: bool = False) -> Body:
        body = await make(resolved, by_path=by_path)
        assert body.file is not None
        opened.append(Unread(body.file))
        return replace(body, file=opened[0])

    monkeypatch.setattr(derivatives, "body", watched)
    head = await server.client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.content))
    assert stable_headers(head.headers) == stable_headers(whole.headers)
    (file,) = opened
    await async_wait_until(lambda: file.closed)
