"""The store of derivatives as clients notice it: kept, checked, bounded, and never in the way."""

import os
from pathlib import Path

from iiif_server.telemetry.events import EntryDropped, Evicted, Rendered, StoreFailed
from support.apps import Server, decode_image, picture, running_app, settings_below
from support.waiting import async_wait_until

TYPES = {"disk": {"source": "disk"}}
PATH = "/disk:pic.jpg/full/100,/0/default.jpg"


def entries(server: Server) -> list[Path]:
    """The files of the store."""
    return server.services.store.paths()


async def test_what_was_made_is_found_by_the_next_process(tmp_path: Path) -> None:
    settings = settings_below(tmp_path, types=TYPES)
    async with running_app(settings) as first:
        first.put("disk", "pic.jpg", picture())
        made = await first.get(PATH)
        assert len(first.events_of(Rendered)) == 1
    async with running_app(settings) as second:
        found = await second.get(PATH)
        assert found.content == made.content
        assert found.headers["etag"] == made.headers["etag"]
        assert (await second.status())["cache"]["files"] == 1
        assert second.events_of(Rendered) == []


async def test_another_encoding_gives_another_derivative(tmp_path: Path) -> None:
    tags = set()
    for quality in (60, 90):
        settings = settings_below(tmp_path, types=TYPES, encoding={"jpeg_quality": quality})
        async with running_app(settings) as server:
            server.put("disk", "pic.jpg", picture())
            os.utime(server.original_path("disk", "pic.jpg"), (1, 1))
            tags.add((await server.get(PATH)).headers["etag"])
            assert len(server.events_of(Rendered)) == 1
    assert len(tags) == 2


async def test_a_damaged_entry_is_made_anew_and_not_served(tmp_path: Path) -> None:
    async with running_app(settings_below(tmp_path, types=TYPES)) as server:
        server.put("disk", "pic.jpg", picture())
        made = (await server.get(PATH)).content
        for damage in (
            made[:-1],
            b"",
            made[:50] + bytes([made[50] ^ 1]) + made[51:],
            made + b"x",
            bytes(len(made)),
        ):
            dropped, rendered = len(server.events_of(EntryDropped)), len(server.events_of(Rendered))
            (entry,) = entries(server)
            entry.write_bytes(damage)
            response = await server.get(PATH)
            assert (response.status_code, response.content) == (200, made)
            assert len(server.events_of(EntryDropped)) == dropped + 1
            assert len(server.events_of(Rendered)) == rendered + 1


async def test_an_entry_that_was_damaged_while_nobody_looked_is_not_served(
    tmp_path: Path,
) -> None:
    settings = settings_below(tmp_path, types=TYPES)
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", picture())
        made = (await server.get(PATH)).content
        (entry,) = entries(server)
    status = entry.stat()
    entry.write_bytes(made[:-5] + b"wrong")
    os.utime(entry, ns=(status.st_atime_ns, status.st_mtime_ns))
    async with running_app(settings) as server:
        assert (await server.get(PATH)).content == made
        assert len(server.events_of(EntryDropped)) == 1


async def test_an_entry_that_disappeared_is_made_anew(tmp_path: Path) -> None:
    async with running_app(settings_below(tmp_path, types=TYPES)) as server:
        server.put("disk", "pic.jpg", picture())
        made = (await server.get(PATH)).content
        (entry,) = entries(server)
        entry.unlink()
        assert (await server.get(PATH)).content == made


async def test_images_are_served_where_nothing_can_be_kept(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file where a folder should be")
    async with running_app(settings_below(tmp_path, types=TYPES)) as server:
        server.put("disk", "pic.jpg", picture())
        for _ in range(2):
            assert decode_image(await server.get(PATH)).size == (100, 75)
        assert len(server.events_of(Rendered)) == 2
        assert server.events_of(StoreFailed) != []
        assert (await server.status())["cache"]["failures"] > 0


async def test_images_are_served_though_the_folder_was_removed_under_way(
    tmp_path: Path,
) -> None:
    async with running_app(settings_below(tmp_path, types=TYPES)) as server:
        server.put("disk", "pic.jpg", picture())
        (server.settings.cache_path / "derivatives" / "incoming").rmdir()
        (server.settings.cache_path / "derivatives" / "entries").rmdir()
        assert decode_image(await server.get(PATH)).size == (100, 75)
        assert len(entries(server)) == 1


async def test_a_failed_request_leaves_no_entry_and_is_tried_again(tmp_path: Path) -> None:
    async with running_app(settings_below(tmp_path, types=TYPES)) as server:
        whole = picture(200, 150, "PNG")
        server.put("disk", "pic.png", whole[: len(whole) // 2])
        path = "/disk:pic.png/full/100,/0/default.jpg"
        assert (await server.get(path)).status_code == 422
        assert entries(server) == []
        assert [*(server.settings.cache_path / "derivatives" / "incoming").iterdir()] == []
        server.put("disk", "pic.png", whole)
        assert (await server.get(path)).status_code == 200


async def test_the_store_stays_within_its_bounds(tmp_path: Path) -> None:
    settings = settings_below(tmp_path, types=TYPES, cache={"max_files": 10, "low_water": 0.5})
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", picture())
        for width in range(20, 60):
            response = await server.get(f"/disk:pic.jpg/full/{width},/0/default.jpg")
            assert decode_image(response).width == width
        await async_wait_until(lambda: len(entries(server)) <= 10)
        assert server.events_of(Evicted) != []


async def test_images_are_served_where_the_bound_is_below_every_image(tmp_path: Path) -> None:
    settings = settings_below(tmp_path, types=TYPES, cache={"max_bytes": 1})
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", picture())
        for width in (20, 21, 22, 20, 21, 22):
            response = await server.get(f"/disk:pic.jpg/full/{width},/0/default.jpg")
            assert decode_image(response).width == width
        await async_wait_until(lambda: entries(server) == [])
