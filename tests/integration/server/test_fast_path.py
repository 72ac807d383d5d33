"""Responses of the fast path equal those of the routes."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from iiif_server.cache.options import CacheOptions
from iiif_server.errors import ClientDisconnectedError
from iiif_server.images.body import Body
from iiif_server.images.pyramid_options import PyramidOptions
from iiif_server.plan.local_file import LocalFile
from iiif_server.routes import image_api
from iiif_server.sources.fetching import FetchOptions
from support.apps import (
    LOOPBACK,
    Server,
    assert_problem,
    decode_image,
    get_scope,
    picture,
    running_app,
    settings_below,
    sleep_until_revalidated,
    stable_headers,
)
from support.servers import ADMIN_TOKEN
from support.waiting import async_wait_until

IMAGE = "/disk:pic.jpg/full/90,/0/default.jpg"
TILE = "/disk:large.jpg/256,128,128,128/128,128/0/default.jpg"
TILES = [
    TILE,
    "/iiif/2/disk:large.jpg/256,128,128,128/128,/0/default.jpg",
    "/iiif/3/disk:large.jpg/0,0,256,256/128,128/0/default.jpg",
    "/disk%3Alarge.jpg/640,384,60,116/60,116/0/default.jpg",
    "/disk:large.jpg/0,0,512,500/!128,125/0/color.jpg",
    "/disk:a%2Fb/large%201.jpg/512,0,188,256/94,128/0/default.jpg",
]
KEY = "a-key-of-these-tests-with-enough-letters"


@asynccontextmanager
async def serving(root: Path, memory: int = 10_000_000, **settings: Any) -> AsyncIterator[Server]:
    chosen = settings_below(
        root,
        types={
            "disk": {"source": "disk"},
            "closed": {"source": "disk", "access": "signed"},
            "web": {"source": "web", "url": "https://upstream.invalid/{name}"},
        },
        signing={"keys": [KEY]},
        cache=CacheOptions.model_validate({"memory_bytes": memory}),
        **({"pyramids": PyramidOptions(min_pixels=100_000, tile_size=128)} | settings),
    )
    async with running_app(chosen) as server:
        for type_ in ("disk", "closed"):
            server.put(type_, "pic.jpg", picture())
        server.put("disk", "large.jpg", picture(700, 500))
        server.put("disk", "a/b/large 1.jpg", picture(700, 500))
        yield server


def made_by(response: httpx.Response) -> str:
    timing: str = response.headers.get("server-timing", "")
    return timing.partition('desc="')[2].partition('"')[0]


def fields(response: httpx.Response) -> dict[str, str]:
    """The header fields, without those that tell one answer from the next."""
    return stable_headers(response.headers)


# --- from memory -------------------------------------------------------------------------------


async def test_what_was_answered_is_answered_again_from_memory(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        first = await server.get(IMAGE)
        again = await server.get(IMAGE)
        assert made_by(first) == "raster"
        assert made_by(again) == "memory"
        assert again.content == first.content
        assert fields(again) == fields(first)
        assert server.services.responses.stats.hits == 1


async def test_image_information_is_kept_by_what_was_accepted(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        path = "/disk:pic.jpg/info.json"
        plain = await server.get(path)
        linked = await server.get(path, Accept="application/ld+json")
        for response, accept in ((plain, "*/*"), (linked, "application/ld+json")):
            again = await server.get(path, Accept=accept)
            assert fields(again) == fields(response)
            assert again.content == response.content
        assert plain.headers["content-type"] != linked.headers["content-type"]
        assert server.services.responses.stats.hits == 2


async def test_each_name_of_the_server_has_its_own_answers(tmp_path: Path) -> None:
    async with serving(tmp_path, trusted_proxies=LOOPBACK) as server:
        for path in (IMAGE, "/disk:pic.jpg/info.json", TILE, TILE):
            for host in ("one.example", "two.example", "one.example"):
                response = await server.get(path, Host=host)
                text = response.headers["link"] + response.text * path.endswith("json")
                assert f"http://{host}/disk:" in text
                assert text.count(".example") == text.count(host)
        forwarded = await server.get(IMAGE, Host="one.example", X_Forwarded_Proto="https")
        assert "<https://one.example/" in forwarded.headers["link"]
        again = await server.get_raw(
            IMAGE.encode(),
            [(b"host", b"one.example"), (b"x-forwarded-proto", b"https")],
            ("192.0.2.7", 1),
        )
        assert "<http://one.example/" in again.headers["link"], "whom nobody trusts"


@pytest.mark.parametrize("path", [IMAGE, TILE])
async def test_head_and_conditions_are_answered_alike(path: str, tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await server.get(path)
        whole = await server.get(path)
        assert made_by(whole) in {"memory", "tile"}
        head = await server.client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert fields(head) == fields(whole)
        for headers in (
            {"If_None_Match": whole.headers["etag"]},
            {"If_None_Match": f'"x", W/{whole.headers["etag"].removeprefix("W/")}'},
            {"If_Modified_Since": whole.headers["last-modified"]},
        ):
            answer = await server.get(path, **headers)
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == whole.headers["etag"]
            assert answer.headers["cache-control"] == whole.headers["cache-control"]
            assert not {"content-length", "content-type"} & set(answer.headers)
        assert (await server.get(path, If_None_Match='"other"')).status_code == 200


async def test_a_replaced_original_is_seen_after_a_second(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        for path, name in ((IMAGE, "pic.jpg"), (TILE, "large.jpg")):
            before = await server.get(path)
            assert (await server.get(path)).content == before.content
            server.put("disk", name, picture(700, 500, quality=40))
            await sleep_until_revalidated()
            after = await server.get(path)
            assert after.headers["etag"] != before.headers["etag"]
            assert after.content != before.content
            server.original_path("disk", name).unlink()
            await sleep_until_revalidated()
            assert_problem(await server.get(path), 404)


@pytest.mark.parametrize("widths", [[40] * 60, range(40, 100)], ids=["again", "other sizes"])
async def test_a_name_that_leads_to_another_file_is_followed_soon(
    widths: Sequence[int], tmp_path: Path
) -> None:
    async with serving(tmp_path) as server:
        folder = server.original_path("disk", "")
        server.put("disk", "other.jpg", picture(100, 200))
        (folder / "link.jpg").symlink_to("pic.jpg")

        async def is_tall(width: int) -> bool:
            answer = await server.get(f"/disk:link.jpg/full/{width},/0/default.jpg")
            return decode_image(answer).height > width

        assert not await is_tall(widths[0])
        (folder / "link.jpg").unlink()
        (folder / "link.jpg").symlink_to("other.jpg")
        for width in widths:
            if await is_tall(width):
                break
            await asyncio.sleep(0.1)
        else:
            pytest.fail("whoever asks often enough sees the former file for ever")


async def test_originals_that_have_to_be_asked_about_are(tmp_path: Path) -> None:
    async with serving(tmp_path, fetch=FetchOptions(refresh_after=1)) as server:
        for path in (IMAGE, TILE):
            for _ in range(2):
                await server.get(path)
        assert made_by(await server.get(IMAGE)) == "memory", "there is nobody to ask"
    sources = server.services.originals
    assert not sources.source("disk").revalidates
    assert sources.source("web").revalidates


async def test_other_settings_give_other_tags(tmp_path: Path) -> None:
    tags = set()
    for quality in (80, 30):
        options = PyramidOptions(min_pixels=100_000, tile_size=128, quality=quality)
        async with serving(tmp_path, pyramids=options) as server:
            tags.add((await server.get(TILES[2])).headers["etag"])
    assert len(tags) == 2


async def test_what_is_purged_is_forgotten(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await server.get(IMAGE)
        assert made_by(await server.get(IMAGE)) == "memory"
        await server.admin("DELETE", "/cache/disk:pic.jpg")
        assert made_by(await server.get(IMAGE)) == "raster"
        assert made_by(await server.get(IMAGE)) == "memory"
        server.services.store.mark_purged()  # as `iiif-server cache purge` beside it does
        assert made_by(await server.get(IMAGE)) == "cache"


async def test_refusals_redirects_and_signed_answers_are_not_kept(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        signatures = server.services.signatures
        assert signatures is not None
        identifier = server.services.identifier("closed:pic.jpg")
        expires = int(time.time()) + 600
        signed = "/" + signatures.sign(identifier, expires) + IMAGE.replace("disk", "closed")
        assert (await server.get(signed)).is_success
        for path in ("/disk:none.jpg/info.json", "/disk:pic.jpg", signed, f"{IMAGE}?a=b"):
            for _ in range(3):
                await server.get(path)
        assert len(server.services.responses) == 0
        server.put("disk", "none.jpg", picture())
        assert (await server.get("/disk:none.jpg/info.json")).is_success


async def test_large_answers_are_not_kept(tmp_path: Path) -> None:
    async with serving(tmp_path, memory=100_000_000) as server:
        for _ in range(2):
            response = await server.get("/disk:pic.jpg/full/^3000,/0/default.tif")
            assert len(response.content) > 1_100_000
            assert made_by(response) != "memory"


async def test_nothing_is_kept_without_memory(tmp_path: Path) -> None:
    async with serving(tmp_path, memory=0) as server:
        for _ in range(3):
            assert made_by(await server.get(IMAGE)) != "memory"


# --- tiles at hand -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", TILES)
async def test_a_tile_at_hand_is_the_tile_that_the_routes_give(path: str, tmp_path: Path) -> None:
    async with serving(tmp_path, memory=0) as server:
        routed = await server.get(path)
        assert made_by(routed) == "tile"
        assert "dur=" in routed.headers["server-timing"]
        at_hand = await server.get(path)
        assert at_hand.headers["server-timing"] == 'engine;desc="tile"'
        assert at_hand.content == routed.content
        assert fields(at_hand) == fields(routed)
        assert decode_image(at_hand).size == decode_image(routed).size
        assert (await server.status())["made_by"]["tile"] == 2


@pytest.mark.parametrize(
    ("path", "memory"),
    [
        (IMAGE, 10_000_000),
        (TILE, 10_000_000),
        ("/disk:pic.jpg/info.json", 10_000_000),
        (TILE, 0),
    ],
)
async def test_what_is_given_without_a_task_is_what_a_task_would_give(
    path: str, memory: int, tmp_path: Path
) -> None:
    async with serving(tmp_path, memory) as server:
        await server.get_raw(path.encode())
        answer = await server.get_raw(path.encode())
        scope = get_scope(path)
        found = server.app.state.direct(dict(scope))
        assert found is not None
        head, _, body = b"".join(found).partition(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n"))
        assert body == answer.content
        assert len(fields.pop(b"x-request-id")) >= 16
        named = {name.encode(): value.encode() for name, value in answer.headers.items()}
        named.pop(b"x-request-id")
        assert fields == named
        for other in (
            {"method": "HEAD"},
            {"query_string": b"a"},
            {"headers": [(b"host", b"test"), (b"if-none-match", b"*")]},
            {"headers": [(b"host", b"elsewhere.example")], "raw_path": b"/disk:pic.jpg/"},
        ):
            assert server.app.state.direct(scope | other) is None


@pytest.mark.parametrize(
    "path",
    [
        IMAGE,
        "/iiif/2/disk:pic.jpg/0,0,50,50/20,/90/gray.png",
        "/disk:large.jpg/full/90,/0/default.jpg",  # of a level: with a weak tag
    ],
)
async def test_what_is_in_the_store_takes_a_thread_and_no_routing(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, memory=0) as server:
        made = await server.get_raw(path.encode())
        assert server.app.state.direct(get_scope(path)) is None, "the loop waits for no disk"
        monkeypatch.delattr(image_api, "make")
        stored = await server.get_raw(path.encode())
        assert stored.headers["server-timing"] == 'engine;desc="cache"'
        assert stored.content == made.content
        assert fields(stored) == fields(made)
        assert (
            (await server.get(f"{path}?download"))
            .headers["content-disposition"]
            .startswith("attachment")
        )
        known = await server.get(path, If_None_Match=made.headers["etag"])
        assert (known.status_code, known.content) == (304, b"")


@pytest.mark.parametrize("prefix", ["", "/iiif/2", "/iiif/3"])
async def test_after_the_information_of_an_image_its_tiles_are_found_without_routing(
    prefix: str, tmp_path: Path
) -> None:
    async with serving(tmp_path) as server:
        await server.get_raw(TILE.encode())  # has the pyramid made
        parameters = TILE.removeprefix("/disk:large.jpg/")
        path = f"{prefix}/disk:large.jpg/{parameters}"
        server.services.images._images.clear()  # as if that had been long ago
        server.services.responses.clear()
        assert server.app.state.direct(get_scope(path)) is None
        await server.get_raw(f"{prefix}/disk:large.jpg/info.json".encode())
        assert server.app.state.direct(get_scope(path)) is not None


async def test_other_requests_for_a_known_image_go_to_the_routes(tmp_path: Path) -> None:
    async with serving(tmp_path, memory=0) as server:
        await server.get(TILE)
        for path, status in (
            ("/disk:large.jpg/0,0,128,128/128,128/0/default.png", 200),
            ("/disk:large.jpg/0,0,128,128/128,128/90/default.jpg", 200),
            ("/disk:large.jpg/1,1,128,128/128,128/0/default.jpg", 200),
            ("/disk:large.jpg/0,0,128,128/128,128/0/best.jpg", 400),
            ("/disk:large.jpg/0,0,0,128/128,128/0/default.jpg", 400),
            ("/disk:large.jpg/900,0,128,128/128,128/0/default.jpg", 400),
            ("/disk:large.jpg/0,0,128,128/256,256/0/default.jpg", 400),
            ("/disk:large.jpg/0,0,128,128/128,128/0/default.jpg/", 303),
            ("/closed:large.jpg/0,0,128,128/128,128/0/default.jpg", 403),
        ):
            assert (await server.get(path)).status_code == status, path


async def test_tiles_of_signed_images_are_never_at_hand(tmp_path: Path) -> None:
    async with serving(tmp_path, memory=0) as server:
        server.put("closed", "large.jpg", picture(700, 500))
        signatures = server.services.signatures
        assert signatures is not None
        identifier = server.services.identifier("closed:large.jpg")
        expires = int(time.time()) + 600
        signed = "/" + signatures.sign(identifier, expires) + TILE.replace("disk", "closed")
        for _ in range(3):
            response = await server.get(signed)
            assert response.headers["cache-control"].startswith("private")
            assert "dur=" in response.headers["server-timing"]


async def test_tiles_in_another_form_are_redirected_where_that_is_wanted(tmp_path: Path) -> None:
    async with serving(tmp_path, memory=0, canonical_redirect=True) as server:
        canonical = "/disk:large.jpg/0,0,256,256/128,128/0/default.jpg"
        assert (await server.get(canonical)).status_code == 200
        assert made_by(await server.get(canonical)) == "tile"
        response = await server.get("/disk:large.jpg/0,0,256,256/128,/0/default.jpg")
        assert response.status_code == 303
        assert response.headers["location"].endswith(canonical)


async def test_a_path_in_front_is_no_part_of_the_name(tmp_path: Path) -> None:
    async with serving(tmp_path, memory=0, root_path="/images") as server:
        routed, at_hand = [await server.get_raw(f"/images{TILE}".encode()) for _ in range(2)]
        assert at_hand.headers["server-timing"] == 'engine;desc="tile"'
        assert fields(at_hand) == fields(routed)
        assert "<http://test/images/disk:large.jpg/" in at_hand.headers["link"]
        document = (await server.get_raw(b"/images/disk:large.jpg/info.json")).json()
        assert document["id"] == "http://test/images/disk:large.jpg"


async def test_damaged_part_returns_no_wrong_tile(tmp_path: Path) -> None:
    async with serving(tmp_path, memory=0) as server:
        right = await server.get(TILE)
        for part in server.settings.cache_path.rglob("*.szi"):
            with part.open("r+b") as file:
                content = bytearray(file.read())
                for place in range(2000, len(content) - 4000, 50):
                    content[place] ^= 0xFF
                file.seek(0)
                file.write(content)
        response = await server.get(TILE)
        assert decode_image(response).size == (128, 128)
        assert decode_image(response).tobytes() == decode_image(right).tobytes()


# --- what the routes would refuse ----------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [("Host", "other.test"), ("Transfer-Encoding", "chunked"), ("Content-Length", "3")],
)
@pytest.mark.parametrize("path", [IMAGE, TILE])
async def test_requests_that_nobody_answers_are_refused_whatever_is_at_hand(
    path: str, wrong: tuple[str, str], tmp_path: Path
) -> None:
    async with serving(tmp_path, base_url="https://images.test") as server:
        await server.get(path)
        assert (await server.get(path)).status_code == 200
        refused = await server.client.get(path, headers=[("Host", "images.test"), wrong])
        assert refused.status_code in {400, 413}
        assert refused.headers["connection"] == "close"


async def test_what_has_not_changed_is_said_with_the_fields_of_the_routes(tmp_path: Path) -> None:
    document = "/disk:pic.jpg/full/90,/0/default.pdf"
    async with serving(tmp_path) as server:
        tag = (await server.get(document)).headers["etag"]
        condition = {"If-None-Match": tag}
        by_routes = await server.client.get(f"{document}?a=b", headers=condition)
        again = await server.client.get(document, headers=condition)
        assert by_routes.status_code == again.status_code == 304
        assert set(again.headers) == set(by_routes.headers)


# --- pixels of known images ----------------------------------------------------------------------


async def test_failures_of_known_images_are_told_as_those_of_others(tmp_path: Path) -> None:
    cut_off = picture(700, 500)[:9000]
    answers = []
    for known in (False, True):
        async with serving(tmp_path / f"{known}", pyramids=PyramidOptions(enabled=False)) as server:
            server.put("disk", "cut.jpg", cut_off)
            if known:
                await server.get("/disk:cut.jpg/info.json")
            answers.append(await server.get("/disk:cut.jpg/full/80,/0/default.jpg"))
    assert_problem(answers[0], 422)
    assert answers[1].json() == answers[0].json()
    assert fields(answers[1]) == fields(answers[0])


async def test_a_known_original_that_is_replaced_before_its_pixels_are_made_is_to_be_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as server:
        await server.get("/disk:pic.jpg/info.json")
        derivatives = server.services.derivatives
        make = derivatives.body
        made: list[LocalFile] = []

        async def body(resolved: Any, *, by_path: bool = False) -> Body:
            if not made:
                server.put("disk", "pic.jpg", picture(300, 100))
            made.append(resolved.original.file)
            return await make(resolved, by_path=by_path)

        monkeypatch.setattr(derivatives, "body", body)
        answer = await server.get("/disk:pic.jpg/full/90,/0/default.jpg")
        assert_problem(answer, 503, "replaced")
        assert answer.headers["retry-after"] == "1"
        again = await server.get("/disk:pic.jpg/full/90,/0/default.jpg")
        assert decode_image(again).size == (90, 30)


@pytest.mark.parametrize("written", ["info.json", "%69nfo.json", "info%2Ejson", "info.jso%6E"])
async def test_an_image_is_known_by_its_own_name_only(written: str, tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.put("disk", "a/b/c/d.jpg", picture())
        answer = await server.get_raw(f"/disk:a/b/c/d.jpg/{written}".encode())
        assert answer.status_code == 200
        assert_problem(await server.get("/disk:a/full/40,/0/default.jpg"), 404)
        found = await server.get("/disk:a/b/c/d.jpg/full/40,/0/default.jpg")
        assert decode_image(found).width == 40


async def test_an_image_that_is_replaced_while_it_is_rendered_is_not_kept_for_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/disk:pic.jpg/full/!60,60/0/default.png"
    async with serving(tmp_path) as server:
        derivatives = server.services.derivatives
        make = derivatives.body

        async def body(resolved: Any, *, by_path: bool = False) -> Body:
            made = await make(resolved, by_path=by_path)
            server.put("disk", "pic.jpg", picture(100, 300))
            await sleep_until_revalidated()
            document = (await server.get("/disk:pic.jpg/info.json")).json()
            assert document["height"] == 300, "others see the new image meanwhile"
            return made

        with monkeypatch.context() as patched:
            patched.setattr(derivatives, "body", body)
            assert decode_image(await server.get(path)).size == (60, 45)
        for _ in range(2):
            assert decode_image(await server.get(path)).size == (20, 60)


async def test_administrative_answers_are_protected_whichever_way_they_take(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        headers = [(b"host", b"test"), (b"authorization", f"Bearer {ADMIN_TOKEN}".encode())]
        for path in ("/admin/status", "/metrics"):
            scope = get_scope(path) | {"headers": headers}
            assert server.app.state.direct(scope) is None
            sent: list[dict[str, Any]] = []

            async def send(message: Any, into: list[dict[str, Any]] = sent) -> None:
                into.append(message)

            await server.app(scope, None, send)  # type: ignore[arg-type]
            assert sent[0]["status"] == 200
            named = dict(sent[0]["headers"])
            assert named[b"cache-control"] == b"no-store"
            assert named[b"cross-origin-resource-policy"] == b"same-origin"
            assert b"access-control-allow-origin" not in named


async def test_a_path_that_only_begins_like_the_root_path_is_another(tmp_path: Path) -> None:
    async with serving(tmp_path, root_path="/images") as server:
        answer = await server.get_raw(b"/images2/disk:pic.jpg/info.json")
        assert_problem(answer, 404, "images2/disk")


async def test_servers_need_not_send_the_raw_path(tmp_path: Path) -> None:
    """It is optional in ASGI."""
    async with serving(tmp_path) as server:
        for path in (IMAGE, "/disk:pic.jpg/info.json"):
            scope = {name: value for name, value in get_scope(path).items() if name != "raw_path"}
            for _ in range(2):
                sent: list[dict[str, Any]] = []

                async def send(message: Any, into: list[dict[str, Any]] = sent) -> None:
                    into.append(message)

                await server.app(dict(scope), never_gone, send)
                assert sent[0]["status"] == 200


async def never_gone() -> Any:
    await asyncio.Event().wait()


async def test_the_file_of_a_body_is_closed_when_its_client_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as server:
        noise = Image.effect_noise((1800, 1400), 80).convert("RGB")  # larger than is read at once
        noise.save(server.original_path("disk", "noise.jpg"), quality=95)
        derivatives = server.services.derivatives
        make, bodies = derivatives.body, []

        async def body(resolved: Any, *, by_path: bool = False) -> Body:
            bodies.append(await make(resolved, by_path=by_path))
            return bodies[-1]

        monkeypatch.setattr(derivatives, "body", body)

        async def gone(_: Any) -> None:
            raise ClientDisconnectedError

        with pytest.raises(ClientDisconnectedError):
            await server.app(get_scope("/disk:noise.jpg/full/max/0/default.jpg"), never_gone, gone)
        file = bodies[0].file
        assert file is not None
        await async_wait_until(lambda: file.closed)
