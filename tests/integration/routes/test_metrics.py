"""Metrics for Prometheus, as a scraper reads them."""

from collections.abc import AsyncIterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from iiif_server import __version__
from iiif_server.cache.options import CacheOptions
from iiif_server.images.pyramid_options import PyramidOptions
from iiif_server.server.access_log import IMAGE
from iiif_server.telemetry.events import AccessRefused
from support.apps import PEER, Server, picture, running_app, settings_below, stable_headers
from support.servers import ADMIN_TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = "a-token-for-scrapers-only"
KEY = "a-key-of-these-tests-with-enough-letters"


def serving(root: Path, **settings: Any) -> Any:
    return running_app(
        settings_below(root, types={"disk": {"source": "disk"}}, **settings),
        raise_app_exceptions=False,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server with memory and pyramids, so that each layer answers something."""
    async with serving(
        tmp_path_factory.mktemp("metrics"),
        metrics={"token": TOKEN},
        cache=CacheOptions.model_validate({"memory_bytes": 10_000_000}),
        pyramids=PyramidOptions(min_pixels=100_000, tile_size=128),
    ) as server:
        server.put("disk", "pic.jpg", picture())
        server.put("disk", "large.jpg", picture(700, 500))
        yield server


async def scrape(server: Server, token: str = TOKEN) -> dict[str, float]:
    """The samples, by name and labels as they are written."""
    response = await server.get("/metrics", Authorization=f"Bearer {token}")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = response.text.splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def answers(engine: str, route: str = IMAGE, version: str = "3.0", status: int = 200) -> str:
    labels = f'engine="{engine}",route="{route}",status="{status}",version="{version}"'
    return f"iiif_requests_total{{{labels}}}"


async def grown(server: Server, *paths: str) -> dict[str, float]:
    """By how much each number has grown when these have been asked for."""
    before = await scrape(server)
    for path in paths:
        await server.get(path)
    after = await scrape(server)
    return {name: value - before.get(name, 0.0) for name, value in after.items()}


async def test_answers_are_counted_whichever_layer_gives_them(server: Server) -> None:
    tile = "/disk:large.jpg/256,128,128,128/128,128/0/default.jpg"
    beside = "/disk:large.jpg/128,128,128,128/128,128/0/default.jpg"
    small = "/disk:pic.jpg/full/90,/0/default.jpg"
    growth = await grown(server, small, small, tile, beside, tile)
    assert growth[answers("raster")] == 1
    assert growth[answers("tile")] == 2
    assert growth[answers("memory")] == 2
    duration = f'iiif_request_duration_seconds_count{{engine="memory",route="{IMAGE}"}}'
    assert growth[duration] == 2
    sizes = [len((await server.get(path)).content) for path in (tile, beside)]
    assert growth[f'iiif_response_bytes_total{{engine="tile",route="{IMAGE}"}}'] == sum(sizes)
    assert growth['iiif_cache_hits_total{tier="memory"}'] == 2
    assert growth['iiif_cache_misses_total{tier="memory"}'] >= 3
    assert growth['iiif_cache_hits_total{tier="pyramid"}'] == 2
    assert growth['iiif_cache_misses_total{tier="pyramid"}'] >= 1
    assert growth['iiif_pyramid_parts_total{outcome="done"}'] >= 1


async def test_both_versions_are_told_apart_and_refusals_too(server: Server) -> None:
    growth = await grown(
        server,
        "/iiif/2/disk:pic.jpg/full/50,/0/default.jpg",
        "/iiif/3/disk:pic.jpg/full/wrong/0/default.jpg",
        "/disk:nothing/info.json",
        "/iiif/2/disk:pic.jpg/info.json",
    )
    assert growth[answers("raster", version="2.1")] == 1
    assert growth[answers("", status=400)] == 1
    assert growth[answers("", "/{identifier}/info.json", status=404)] == 1
    assert growth[answers("", "/{identifier}/info.json", "2.1")] == 1


async def test_the_version_of_image_information_is_the_one_that_was_negotiated(
    server: Server,
) -> None:
    before = await scrape(server)
    accept = 'application/ld+json;profile="http://iiif.io/api/image/2/context.json"'
    for _ in range(2):  # from the routes, and from memory
        await server.get("/disk:pic.jpg/info.json", Accept=accept)
    after = await scrape(server)
    for engine in ("", "memory"):
        name = answers(engine, "/{identifier}/info.json", "2.1")
        assert after[name] - before.get(name, 0) == 1


async def test_stages_are_timed(server: Server) -> None:
    server.put("disk", "timed.jpg", picture())
    growth = await grown(server, "/disk:timed.jpg/10,10,80,80/33,/7/gray.png")
    for stage in ("fetch", "header", "cache", "queue", "open", "decode", "encode"):
        assert growth[f'iiif_stage_duration_seconds_count{{stage="{stage}"}}'] == 1, stage


async def test_how_things_stand_is_said(server: Server) -> None:
    found = await scrape(server)
    assert found["iiif_ready"] == 1
    assert found["iiif_serving_processes"] == 1
    assert found[f'iiif_build_info{{version="{__version__}"}}'] == 1
    assert found['iiif_workers{pool="image",state="idle"}'] == 1
    assert found['iiif_workers{pool="size",state="busy"}'] == 0
    assert found['iiif_lane_jobs{lane="full",state="waiting"}'] == 0
    assert found['iiif_process_memory_bytes{process="server"}'] > 1_000_000
    assert found['iiif_process_memory_bytes{process="image"}'] > 1_000_000
    assert found["iiif_headers_known"] == len(server.services.images)
    assert found["iiif_store_files"] == server.services.store.stats.files
    assert found["iiif_store_refusing"] == 0
    assert found["iiif_requests_in_progress"] == 1  # this one
    assert found["iiif_originals_quarantined"] == 0


async def test_no_address_makes_a_name_of_its_own(server: Server) -> None:
    before = {name for name in await scrape(server) if name.startswith("iiif_requests_total")}
    for number in range(30):
        await server.get(f"/unheard:of-{number}/info.json")
        await server.get(f"/a/b/c/d/e-{number}.jpg")
        await server.client.request("POST", f"/x-{number}")
        await server.client.request(f"M{number}", "/health")
    after = {name for name in await scrape(server) if name.startswith("iiif_requests_total")}
    assert len(after - before) <= 6, after - before
    assert not [name for name in after if "of-1" in name or "e-1" in name or "x-1" in name]


async def test_nobody_reads_them_without_a_token(server: Server) -> None:
    before = len(server.events_of(AccessRefused))
    for headers in ({}, {"Authorization": "Bearer wrong-wrong-wrong-wrong"}):
        response = await server.client.get("/metrics", headers=headers)
        assert response.status_code == 401
        assert "iiif_requests" not in response.text
        assert response.headers["www-authenticate"].startswith("Bearer")
    assert len(server.events_of(AccessRefused)) == before + 1


async def test_the_token_for_scrapers_opens_nothing_else(server: Server) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert (await server.client.get("/admin/status", headers=headers)).status_code == 401
    assert (await server.client.delete("/admin/cache", headers=headers)).status_code == 401


async def test_the_token_of_those_who_run_the_server_opens_them_too(server: Server) -> None:
    assert await scrape(server, ADMIN_TOKEN)


async def test_no_other_origin_may_read_them_and_nothing_keeps_them(server: Server) -> None:
    response = await server.get("/metrics", Authorization=f"Bearer {TOKEN}")
    assert "access-control-allow-origin" not in response.headers
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_without_a_token_or_a_network_there_is_no_such_address(tmp_path: Path) -> None:
    async with serving(tmp_path, admin={}) as server:
        there, nothing = await server.get("/metrics"), await server.get("/mertics")
        assert there.status_code == nothing.status_code == 404
        assert there.text == nothing.text
        assert stable_headers(there.headers) == stable_headers(nothing.headers)


async def test_a_network_reads_them_without_a_token_unless_a_proxy_passes_it_on(
    tmp_path: Path,
) -> None:
    near = {"allow_networks": [IPv4Network("127.0.0.0/8")]}
    async with serving(tmp_path, admin={}, metrics=near) as server:
        assert (await server.get("/metrics")).status_code == 200
        for name in ("x-forwarded-for", "x-forwarded-proto", "forwarded", "via"):
            headers = [(b"host", b"test"), (name.encode(), b"https")]
            response = await server.get_raw(b"/metrics", headers)
            assert response.status_code == 401, name
        response = await server.get_raw(b"/metrics", peer=("192.0.2.1", PEER[1]))
        assert response.status_code == 401


async def test_who_asks_past_the_proxy_need_not_know_its_prefix(tmp_path: Path) -> None:
    """Probes and scrapers come straight to the server, where a prefix is for its readers."""
    near = {"allow_networks": [IPv4Network("127.0.0.0/8")]}
    async with serving(tmp_path, root_path="/iiif", metrics=near) as server:
        server.put("disk", "pic.jpg", picture())
        for path in ("/health", "/health/ready", "/metrics"):
            assert (await server.get(path)).status_code == 200, path
            assert (await server.get(f"/iiif{path}")).status_code == 200, path
        assert (await server.get("/iiif/disk:pic.jpg/info.json")).status_code == 200
        counted = answers("", "/{identifier}/info.json", "3.0")
        assert counted in (await server.get("/metrics")).text


async def test_signatures_are_in_no_number(tmp_path: Path) -> None:
    async with running_app(
        settings_below(
            tmp_path,
            types={"closed": {"source": "disk", "access": "signed"}},
            signing={"keys": [KEY]},
        )
    ) as server:
        await server.get("/iiif/3/signed/1767225600.5f2mT0hV1lq0xZkQv1nYj3mC8yWb4d9e/closed:a")
        response: httpx.Response = await server.get(
            "/metrics", Authorization=f"Bearer {ADMIN_TOKEN}"
        )
        assert "5f2mT0hV1lq0" not in response.text
        assert "closed" not in response.text
