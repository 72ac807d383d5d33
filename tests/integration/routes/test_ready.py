"""Readiness, as a load balancer requests it."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from iiif_server.cache.options import CacheOptions
from iiif_server.cache.threads import StorageThreads
from iiif_server.images.originals import Originals
from iiif_server.server import readiness
from iiif_server.server.readiness import Readiness
from iiif_server.sources.disk import DiskSource
from iiif_server.telemetry.events import BecameReady, BecameUnready, Event
from support.apps import Server, picture, running_app, settings_below
from support.servers import ADMIN_TOKEN


@asynccontextmanager
async def serving(root: Path, **settings: Any) -> AsyncIterator[Server]:
    types = {
        "disk": {"source": "disk"},
        "web": {"source": "web", "url": "https://upstream.invalid/{name}"},
    }
    async with running_app(settings_below(root, types=types, **settings)) as server:
        server.put("disk", "pic.jpg", picture())
        yield server


async def asked(server: Server) -> tuple[int, dict[str, Any]]:
    """What the server says, as it is now."""
    await asyncio.sleep(readiness.RESULT_TTL)  # what is known is told again for so long
    response = await server.get("/health/ready")
    assert response.headers["cache-control"] == "no-store"
    return response.status_code, response.json()


async def test_a_server_that_can_do_all_is_ready_and_fetches_nothing_to_find_out(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as server:
        assert await asked(server) == (200, {"status": "ready", "reasons": []})
        assert server.services.fetcher.active == 0
        assert not server.events_of(BecameUnready)


async def test_a_folder_that_is_gone_is_a_reason_until_it_is_back(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        folder = server.settings.source_path / "disk"
        folder.rename(tmp_path / "away")
        status, said = await asked(server)
        assert (status, said["status"]) == (503, "unready")
        (reason,) = said["reasons"]
        assert "1 of 2 types" in reason
        assert str(tmp_path) not in reason
        assert (await server.get("/health")).status_code == 200
        (told,) = server.events_of(BecameUnready)
        assert str(folder) in told.reasons[0]
        await asked(server)
        assert len(server.events_of(BecameUnready)) == 1, "once, not with each question"
        (tmp_path / "away").rename(folder)
        assert (await asked(server))[0] == 200
        assert len(server.events_of(BecameReady)) == 1


async def test_a_cache_that_cannot_be_written_is_a_reason(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        incoming = server.services.store.incoming
        incoming.rmdir()
        incoming.write_bytes(b"in the way")
        status, said = await asked(server)
        assert status == 503
        assert "cache" in said["reasons"][0]
        assert str(tmp_path) not in said["reasons"][0]
        incoming.unlink()
        assert (await asked(server))[0] == 200
        assert list(incoming.iterdir()) == [], "nothing is left of looking"


async def test_a_disk_with_less_free_than_is_wanted_is_a_reason_once_nothing_is_kept(
    tmp_path: Path,
) -> None:
    cache = CacheOptions.model_validate({"min_free": 10**18})
    async with serving(tmp_path, cache=cache) as server:
        assert (await asked(server))[0] == 200, "nothing had to be kept yet"
        assert (await server.get("/disk:pic.jpg/full/50,/0/default.jpg")).status_code == 200
        status, said = await asked(server)
        assert status == 503
        assert len(said["reasons"]) == 1
        assert "min_free" in server.events_of(BecameUnready)[0].reasons[0]


async def test_a_server_that_stops_is_not_ready(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        assert (await server.get("/health/ready")).status_code == 200
        server.services.readiness.draining.begun = True
        response = await server.get("/health/ready")
        assert (response.status_code, response.json()["reasons"]) == (503, [readiness.LEAVING.text])
        metrics = await server.get("/metrics", Authorization=f"Bearer {ADMIN_TOKEN}")
        assert "\niiif_ready 0.0\n" in metrics.text
        assert (await server.get("/disk:pic.jpg/info.json")).status_code == 200


async def test_the_number_says_the_same(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        (server.settings.source_path / "disk").rename(tmp_path / "away")
        response = await server.get("/metrics", Authorization=f"Bearer {ADMIN_TOKEN}")
        assert "\niiif_ready 0.0\n" in response.text


class StuckSource(DiskSource):
    """A source whose disk does not answer."""

    answer: threading.Event
    looks = 0

    def problems(self) -> list[str]:
        self.looks += 1
        self.answer.wait()
        return []


async def test_a_disk_that_does_not_answer_is_a_reason_and_is_asked_by_one_thread(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as server:
        fine = server.services.originals.source("disk")
        stuck = StuckSource(replace(fine.context, threads=StorageThreads("stuck")), fine.options)
        stuck.answer = threading.Event()
        clock = iter(range(99)).__next__
        told: list[Event] = []
        store = server.services.store
        asking = Readiness(Originals({"stuck": stuck}), store, {}, told.append, clock=clock)
        beside = Readiness(
            Originals({"stuck": stuck, "disk": fine}), store, {}, told.append, clock=clock
        )
        try:
            for _ in range(2):
                (objection,) = await asking.objections()
                assert "in time" in objection.text
            assert stuck.looks == 1
            assert await beside.objections() == (), "the other type is served"
        finally:
            stuck.answer.set()


async def test_many_who_ask_at_once_are_one_look(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        answers = await asyncio.gather(*(server.get("/health/ready") for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
async def test_what_is_said_of_health_is_kept_nowhere(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path) as server:
        assert (await server.get(path)).headers["cache-control"] == "no-store"
