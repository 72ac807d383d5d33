"""Hostile originals through the whole application: refused in time, at no cost to anyone else."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from iiif_server.errors import OriginalChangedError
from iiif_server.plan.local_file import LocalFile
from iiif_server.telemetry.events import Event, WorkerReplaced
from iiif_server.workers.pool import Setup, WorkerPool
from support import hostile, jobs, pictures
from support.apps import (
    Server,
    assert_problem,
    decode_image,
    running_app,
    settings_below,
)
from support.pictures import PICTURES, Picture, photograph
from support.waiting import async_wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOMBS = hostile.bombs()
REQUESTS = ("info.json", "0,0,64,64/64,/0/default.jpg", "full/!50,50/0/default.jpg",
            "full/max/0/default.png")  # fmt: skip
LONG = 20.0
"""Seconds in which any of these is answered at the latest, on a machine that is busy."""
MAX_MEGABYTES = 350
"""What a worker takes at most, its libraries and the header process's included."""
REFUSALS = {400, 413, 415, 422}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    settings = settings_below(
        tmp_path_factory.mktemp("hostile"),
        types={"disk": {"source": "disk"}},
        pyramids={"min_pixels": 5_000},
    )
    async with running_app(settings) as server:
        yield server


def most_memory(server: Server) -> int:
    """Megabytes that any of the workers had at most."""
    pids = (*server.services.image_pool.pids, *server.services.header_pool.pids)
    peaks = []
    for pid in pids:
        status = Path(f"/proc/{pid}/status").read_text()
        peaks.append(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
    return max(peaks)


async def ask(server: Server, name: str, request: str) -> int:
    """The status of an answer, which comes in time and is a proper one."""
    async with asyncio.timeout(LONG):
        response = await server.get(f"/disk:{name}/{request}")
    if response.status_code >= 400:
        assert_problem(response, response.status_code)
    elif request != "info.json":
        decode_image(response)
    return response.status_code


def assert_unharmed(server: Server) -> None:
    assert not server.events_of(WorkerReplaced)
    assert most_memory(server) < MAX_MEGABYTES


@pytest.mark.parametrize("name", sorted(BOMBS))
async def test_a_bomb_is_refused_and_harms_nobody(server: Server, name: str) -> None:
    status, make = BOMBS[name]
    file_name = name.replace(" ", "_")  # of its own: a replaced file is noticed after a second
    server.put("disk", file_name, make())
    answers = [await ask(server, file_name, request) for request in REQUESTS]
    # What only the decoder can tell has a header; a request beyond it is refused as such.
    assert set(answers[1:]) <= {status, 400}, answers
    assert status in answers
    assert answers[0] in {status, 200}
    assert_unharmed(server)


@pytest.mark.parametrize("name", hostile.harmless())
async def test_a_loop_that_readers_ignore_harms_nobody(server: Server, name: str) -> None:
    server.put("disk", name.replace(" ", "_"), hostile.harmless()[name])
    assert await ask(server, name.replace(" ", "_"), "full/max/0/default.png") == 200
    assert_unharmed(server)


@pytest.mark.parametrize("name", [*hostile.STRANGERS, *hostile.POLYGLOTS])
async def test_what_is_no_image_is_refused(server: Server, name: str) -> None:
    server.put("disk", "stranger.jpg", {**hostile.STRANGERS, **hostile.POLYGLOTS}[name])
    for request in REQUESTS:
        assert await ask(server, "stranger.jpg", request) in {415, 422}
    assert_unharmed(server)


@pytest.mark.parametrize(
    "picture", [p for p in PICTURES if p.name != "trailing.jpg"], ids=lambda picture: picture.name
)
async def test_a_truncated_original_is_never_shown_whole(server: Server, picture: Picture) -> None:
    whole = picture.encode(photograph())
    for part in (1, 3, 8):
        server.put("disk", "cut", whole[: len(whole) * part // 9])
        for request in REQUESTS:
            status = await ask(server, "cut", request)
            # The first rows may be there, as may the header.
            may_be = request == "info.json" or request.startswith("0,0")
            assert status in REFUSALS or (may_be and status == 200), (part, request, status)
    assert_unharmed(server)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
async def test_a_flipped_original_is_shown_or_refused(server: Server, picture: Picture) -> None:
    whole = picture.encode(photograph(96, 72))
    chance = np.random.default_rng(11)
    for number in range(6):
        flipped = bytearray(whole)
        place = int(chance.integers(min(len(whole), 400) if number % 2 else len(whole)))
        flipped[place] ^= 1 << int(chance.integers(8))
        server.put("disk", "flipped", bytes(flipped))
        for request in REQUESTS:
            assert await ask(server, "flipped", request) in {200, *REFUSALS}, (place, request)
    assert_unharmed(server)


async def test_formats_that_are_left_out_are_refused(tmp_path: Path) -> None:
    settings = settings_below(
        tmp_path,
        types={"disk": {"source": "disk"}},
        limits={"formats": ["PNG", "TIFF"], "max_source_bytes": "100kB", "max_source_frames": 2},
    )
    async with running_app(settings) as server:
        server.put("disk", "a.jpg", pictures.jpeg(photograph()))
        server.put("disk", "a.png", hostile.png_with(b""))
        server.put("disk", "a.tif", hostile.tiff_chain(3))
        server.put("disk", "b.png", hostile.png_with(hostile.png_chunk(b"teXt", bytes(100_000))))
        answer = await server.get("/disk:a.jpg/info.json")
        assert_problem(answer, 415, "this server reads: PNG, TIFF.")
        assert (await server.get("/disk:a.png/info.json")).status_code == 200
        assert_problem(await server.get("/disk:a.tif/info.json"), 413, "3 pages", "up to 2")
        assert_problem(await server.get("/disk:b.png/info.json"), 413, "bytes", "up to 100,000")


# --- originals that change while they are read ----------------------------------------------


async def test_an_original_that_is_cut_short_before_its_turn_is_one_that_has_changed(
    tmp_path: Path,
) -> None:
    settings = settings_below(tmp_path, types={"disk": {"source": "disk"}})
    async with running_app(settings) as server:
        path = server.put("disk", "a.jpg", pictures.jpeg(photograph(1000, 800), quality=95))
        pool = server.services.image_pool
        for process in pool.pids:
            os.kill(process, signal.SIGSTOP)
        try:
            asking = [
                asyncio.create_task(
                    server.get(f"/disk:a.jpg/{16 * x},16,512,512/max/0/default.jpg")
                )
                for x in range(20)
            ]
            await async_wait_until(lambda: pool.stats.busy + pool.stats.waiting == len(asking))
            os.truncate(path, 5_000)
        finally:
            for process in pool.pids:
                os.kill(process, signal.SIGCONT)
        for answer in asking:
            assert_problem(await answer, 503, "replaced")
        later = await server.get("/disk:a.jpg/16,16,512,512/max/0/default.jpg")
        assert_problem(later, 422)


async def test_an_original_that_is_cut_short_under_a_worker_costs_that_worker_and_no_blame(
    tmp_path: Path,
) -> None:
    """What is no more there of a memory map kills the process that reads it."""
    path = tmp_path / "a.jpg"
    path.write_bytes(pictures.jpeg(photograph(1000, 800), quality=95))
    events: list[Event] = []
    pool = WorkerPool("image", 1, Setup(jobs.nothing), events.append)
    await pool.open()
    try:
        with pytest.raises(OriginalChangedError):
            await pool.run(jobs.cut_short_and_read, LocalFile.at(path), timeout=LONG)
        assert [type(event) for event in events] == [WorkerReplaced]
        assert await pool.run(jobs.echo, "alive", timeout=LONG) == "alive"
    finally:
        await pool.close()


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
async def test_an_original_that_is_overwritten_while_it_is_read_is_never_blamed(
    tmp_path: Path, name: str
) -> None:
    """In place, as `cp` does: the file that is open has other bytes from one moment to the next."""
    format_ = {"jpg": "JPEG", "png": "PNG", "tif": "TIFF"}[name[-3:]]
    image = Image.fromarray(pictures.detailed(2400, 1800))
    good, other = pictures.saved(image, format_), b"\xa5" * 100_000
    settings = settings_below(tmp_path, types={"disk": {"source": "disk"}})
    async with running_app(settings) as server:
        server.put("disk", name, good)
        await server.get(f"/disk:{name}/info.json")
        asking = asyncio.create_task(server.get(f"/disk:{name}/full/1200,/0/default.png"))
        await async_wait_until(lambda: server.services.image_pool.stats.busy > 0)
        server.put("disk", name, other)
        status = (await asking).status_code
        assert status in {200, 503}
        assert_problem(await server.get(f"/disk:{name}/full/1200,/0/default.png"), 415)
        server.put("disk", name, good)
        assert (await server.get(f"/disk:{name}/full/120,/0/default.png")).status_code == 200


async def test_an_original_that_grows_as_it_is_looked_at_is_not_refused_for_good(
    tmp_path: Path,
) -> None:
    settings = settings_below(tmp_path, types={"disk": {"source": "disk"}})
    async with running_app(settings) as server:
        whole = pictures.jpeg(photograph())
        path = server.put("disk", "a.jpg", whole[:100])
        deadline = time.monotonic() + LONG
        answers = [(await server.get("/disk:a.jpg/info.json")).status_code]
        with path.open("ab") as file:
            for at in range(100, len(whole), 500):
                file.write(whole[at : at + 500])
                file.flush()
                answers.append((await server.get("/disk:a.jpg/info.json")).status_code)
        assert set(answers) <= {200, 422, 503}
        assert (await server.get("/disk:a.jpg/full/max/0/default.jpg")).content == whole
        assert time.monotonic() < deadline
