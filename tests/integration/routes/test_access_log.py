"""The access log is the same for all layers, and events have request ids."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from iiif_server.cache.options import CacheOptions
from iiif_server.images.pyramid_options import PyramidOptions
from iiif_server.telemetry.events import Event, Rendered
from iiif_server.telemetry.logs import JsonFormatter, LineFormatter
from iiif_server.telemetry.requests import CURRENT
from support.apps import LOOPBACK, Server, picture, running_app, settings_below

TILE = "/disk:large.jpg/256,128,128,128/128,128/0/default.jpg"
SMALL = "/disk:pic.jpg/full/90,/0/default.jpg"


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    settings = settings_below(
        tmp_path,
        types={"disk": {"source": "disk"}},
        cache=CacheOptions.model_validate({"memory_bytes": 10_000_000}),
        pyramids=PyramidOptions(min_pixels=100_000, tile_size=128),
        trusted_proxies=LOOPBACK,
    )
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", picture())
        server.put("disk", "large.jpg", picture(700, 500))
        yield server


def access(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [record for record in caplog.records if record.name == "iiif_server.access"]


async def test_each_answer_has_the_id_that_is_in_the_log(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    answers = [
        await server.get(SMALL),
        await server.get(SMALL),  # from memory
        await server.get(TILE),
        await server.get(TILE.replace("256,", "128,")),  # ready
        await server.get("/disk:nothing/info.json"),
        await server.client.options(SMALL),
        await server.client.post(SMALL, content=b"x"),  # refused before all routes
    ]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == len(answers)
    assert [record.told.request for record in access(caplog)] == ids
    for answer, record in zip(answers, access(caplog), strict=True):
        assert record.told.status == answer.status_code
        assert record.told.size == len(answer.content)
        assert 0 < record.told.seconds < 60
        assert f" request={record.told.request}" in LineFormatter("%(message)s").format(record)
    engines = [record.told.engine for record in access(caplog)]
    assert engines == ["raster", "memory", "tile", "tile", "", "", ""]


async def test_the_lines_of_both_layers_have_one_form(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    await server.get(SMALL)
    caplog.clear()
    caplog.set_level(logging.INFO)
    await server.get(SMALL)  # the layer in front
    await server.get_raw(f"{SMALL}?x".encode())  # what has a query goes past it
    front, routed = access(caplog)
    assert (front.told.engine, routed.told.engine) == ("memory", "cache")
    for name in ("peer", "method", "path", "http", "status", "size", "route", "version"):
        if name != "peer":
            assert getattr(front.told, name) == getattr(routed.told, name), name
    shown = [
        LineFormatter("%(message)s").format(record).split(" ")[2:8] for record in (front, routed)
    ]
    assert [parts[:4] for parts in shown] == [shown[0][:4]] * 2
    assert JsonFormatter().format(front).startswith('{"time": ')


async def test_only_a_trusted_proxy_gives_a_request_its_id(server: Server) -> None:
    for path in (SMALL, SMALL):
        headers = [(b"host", b"test"), (b"x-request-id", b"from-the-proxy")]
        trusted = await server.get_raw(path.encode(), headers)
        assert trusted.headers["x-request-id"] == "from-the-proxy"
        other = await server.get_raw(path.encode(), headers, peer=("192.0.2.1", 5))
        assert other.headers["x-request-id"] != "from-the-proxy"


async def test_an_answer_from_memory_has_an_id_of_its_own(server: Server) -> None:
    first, again = await server.get(SMALL), await server.get(SMALL)
    assert "memory" in again.headers["server-timing"]
    assert len(again.headers.get_list("x-request-id")) == 1
    assert again.headers["x-request-id"] != first.headers["x-request-id"]


async def test_what_happens_during_a_request_is_told_of_it(server: Server) -> None:
    told: list[tuple[Event, str]] = []

    def observe(event: Event) -> None:
        told.append((event, CURRENT.get()))

    server.services.derivatives._observe = observe
    answer = await server.get(SMALL)
    ((event, request),) = told
    assert isinstance(event, Rendered)
    assert request == answer.headers["x-request-id"]
    assert CURRENT.get() == "", "and nothing is told of it afterwards"
