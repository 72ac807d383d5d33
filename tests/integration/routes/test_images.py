"""Images in both versions of the Image API."""

import asyncio
import threading
from collections.abc import AsyncIterator
from email.utils import formatdate

import pytest
import pytest_asyncio
from PIL import Image, ImageChops

from iiif_server.cache.entries import Entry, EntryKey
from iiif_server.images.body import IN_MEMORY
from iiif_server.telemetry.events import Rendered
from support.apps import Server, decode_image, picture, running_app, settings_below
from support.waiting import async_wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURE = picture(640, 480, quality=90)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    settings = settings_below(
        tmp_path_factory.mktemp("images"),
        image_pool_size=2,
        types={"disk": {"source": "disk", "cache_for": 5}},
    )
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", PICTURE)
        server.put("disk", "pic.png", picture(640, 480, "PNG"))
        yield server


@pytest.mark.parametrize(
    "path",
    [
        "/disk:pic.jpg/full/max/0/default.jpg",
        "/iiif/3/disk:pic.jpg/full/max/0/default.jpg",
        "/iiif/2/disk:pic.jpg/full/full/0/default.jpg",
        "/iiif/2/disk:pic.jpg/full/max/0/default.jpg",
        "/disk:pic.jpg/0,0,640,480/640,480/360/color.jpg",
    ],
)
async def test_the_whole_original_is_its_own_bytes(server: Server, path: str) -> None:
    response = await server.get(path)
    assert response.status_code == 200
    assert response.content == PICTURE
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["content-length"] == str(len(PICTURE))
    assert server.events_of(Rendered) == []


@pytest.mark.parametrize(
    ("parameters", "size"),
    [
        ("full/max/0/default.jpg", (640, 480)),
        ("full/320,/0/default.jpg", (320, 240)),
        ("full/,240/0/default.jpg", (320, 240)),
        ("full/pct:25/0/default.jpg", (160, 120)),
        ("full/pct:33.333333333333336/0/default.jpg", (213, 160)),
        ("pct:33.333333333333336,0,33.33,50/max/0/default.jpg", (214, 240)),
        ("pct:5.684341886080802e-14,0,50,50/max/0/default.jpg", (320, 240)),
        ("full/max/90.000000000000014/default.jpg", (480, 640)),
        ("full/max/!359.99999999999999999999/default.jpg", (640, 480)),
        ("full/100,200/0/default.jpg", (100, 200)),
        ("full/!100,100/0/default.jpg", (100, 75)),
        ("full/^1280,/0/default.jpg", (1280, 960)),
        ("square/max/0/default.jpg", (480, 480)),
        ("100,100,300,200/max/0/default.jpg", (300, 200)),
        ("500,400,300,200/max/0/default.jpg", (140, 80)),
        ("pct:25,25,50,50/max/0/default.jpg", (320, 240)),
        ("full/320,/90/default.jpg", (240, 320)),
        ("full/320,/!180/default.jpg", (320, 240)),
        ("full/320,/0/gray.jpg", (320, 240)),
        ("full/320,/0/bitonal.png", (320, 240)),
    ],
)
@pytest.mark.parametrize("name", ["pic.jpg", "pic.png"])
async def test_sizes(server: Server, name: str, parameters: str, size: tuple[int, int]) -> None:
    assert decode_image(await server.get(f"/disk:{name}/{parameters}")).size == size


@pytest.mark.parametrize(
    ("version", "size", "code"),
    [
        ("/iiif/3", "full", 400),
        ("/iiif/2", "full", 200),
        ("/iiif/3", "641,", 400),
        ("/iiif/3", "^641,", 200),
        ("/iiif/2", "641,", 200),
        ("/iiif/2", "^641,", 400),
        ("", "641,", 400),
        ("", "^641,", 200),
    ],
)
async def test_each_version_has_its_own_grammar_of_sizes(
    server: Server, version: str, size: str, code: int
) -> None:
    response = await server.get(f"{version}/disk:pic.jpg/full/{size}/0/default.jpg")
    assert response.status_code == code


@pytest.mark.parametrize(
    ("format_", "media_type", "pillow"),
    [
        ("jpg", "image/jpeg", "JPEG"),
        ("png", "image/png", "PNG"),
        ("webp", "image/webp", "WEBP"),
        ("gif", "image/gif", "GIF"),
        ("tif", "image/tiff", "TIFF"),
    ],
)
async def test_formats(server: Server, format_: str, media_type: str, pillow: str) -> None:
    response = await server.get(f"/disk:pic.jpg/full/64,/0/default.{format_}")
    assert response.headers["content-type"] == media_type
    assert response.headers["content-length"] == str(len(response.content))
    assert decode_image(response).format == pillow


async def test_every_format_that_is_listed_can_be_had(server: Server) -> None:
    formats = (await server.get("/status")).json()["formats"]
    assert {"jpg", "png"} <= set(formats)
    for format_ in formats:
        response = await server.get(f"/disk:pic.jpg/full/64,/0/default.{format_}")
        assert response.status_code == 200
        assert len(response.content) > 100


async def test_pixels_are_those_of_the_original(server: Server) -> None:
    whole = Image.open(server.original_path("disk", "pic.png")).convert("RGB")
    region = decode_image(await server.get("/disk:pic.png/37,41,200,100/max/0/default.png"))
    expected = whole.crop((37, 41, 237, 141))
    assert ImageChops.difference(region.convert("RGB"), expected).getbbox() is None
    turned = decode_image(await server.get("/disk:pic.png/37,41,200,100/max/!90/default.png"))
    mirrored = expected.transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(-90, expand=True)
    assert ImageChops.difference(turned.convert("RGB"), mirrored).getbbox() is None


async def test_headers(server: Server) -> None:
    response = await server.get("/disk:pic.jpg/full/pct:50/0/color.jpg")
    assert response.headers["cache-control"] == "max-age=5"
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["x-content-type-options"] == "nosniff"
    link = response.headers["link"]
    assert '<http://test/disk:pic.jpg/full/320,240/0/default.jpg>;rel="canonical"' in link
    assert '<http://iiif.io/api/image/3/level2.json>;rel="profile"' in link
    link = (await server.get("/iiif/2/disk:pic.jpg/full/pct:50/0/color.jpg")).headers["link"]
    assert '<http://test/iiif/2/disk:pic.jpg/full/320,/0/default.jpg>;rel="canonical"' in link


SPELLINGS = [
    "/disk:pic.jpg/full/160,120/0/default.jpg",
    "/disk:pic.jpg/full/160,/0/default.jpg",
    "/disk:pic.jpg/full/,120/0/color.jpg",
    "/disk:pic.jpg/full/!160,160/360/default.jpg",
    "/disk:pic.jpg/pct:0,0,100,100/pct:25/0/default.jpg",
    "/disk:pic.jpg/0,0,9999,9999/160,/0/default.jpg",
    "/iiif/3/disk%3Apic.jpg/full/160,/0/default.jpg",
    "/iiif/2/disk:pic.jpg/full/160,/0/default.jpg",
]


async def test_every_spelling_of_a_request_is_rendered_once(server: Server) -> None:
    server.put("disk", "pic.jpg", PICTURE)
    await asyncio.sleep(1.1)  # a replaced original is noticed within a second
    before = len(server.events_of(Rendered))
    responses = [await server.get(path) for path in SPELLINGS]
    assert len({response.content for response in responses}) == 1
    assert len({response.headers["etag"] for response in responses}) == 1
    assert len(server.events_of(Rendered)) == before + 1


async def test_equal_requests_at_once_are_rendered_once(server: Server) -> None:
    before = len(server.events_of(Rendered))
    paths = [path.replace("160", "480").replace("120", "360").replace("pct:25", "pct:75")
             for path in SPELLINGS]  # fmt: skip
    responses = await asyncio.gather(*(server.get(path) for path in paths * 5))
    assert {response.status_code for response in responses} == {200}
    assert len({response.content for response in responses}) == 1
    assert decode_image(responses[0]).size == (480, 360)
    assert len(server.events_of(Rendered)) == before + 1


@pytest.mark.parametrize("size", ["470,", "^1400,"])  # small ones are stored in another way
async def test_a_request_that_looked_in_the_store_before_an_equal_one_ended_renders_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    store, path = server.services.store, f"/disk:pic.jpg/full/{size}/0/default.jpg"
    find, looked, go_on = store.find, threading.Event(), threading.Event()

    def slow(key: EntryKey) -> Entry | None:
        found = find(key)
        if not looked.is_set():  # the first one, which finds nothing
            looked.set()
            go_on.wait(60)
        return found

    monkeypatch.setattr(store, "find", slow)
    before = len(server.events_of(Rendered))
    first = asyncio.create_task(server.get(path))
    await async_wait_until(looked.is_set)
    second = await server.get(path)
    go_on.set()
    assert (await first).content == second.content
    assert decode_image(second).width == int(size.strip("^,"))
    assert len(server.events_of(Rendered)) == before + 1
    assert 'desc="cache"' in (await first).headers["server-timing"]


async def test_different_requests_at_once_get_what_each_asked_for(server: Server) -> None:
    widths = range(20, 60)
    responses = await asyncio.gather(
        *(server.get(f"/disk:pic.jpg/full/{width},/0/default.jpg") for width in widths)
    )
    assert [decode_image(response).width for response in responses] == list(widths)


async def test_a_body_that_is_streamed_from_a_file_is_whole(server: Server) -> None:
    noise = Image.effect_noise((1200, 900), 90).convert("RGB")
    noise.save(server.original_path("disk", "large.bmp"))
    path = "/disk:large.bmp/full/max/0/default.tif"
    made, found = await server.get(path), await server.get(path)
    for response in (made, found):
        assert len(response.content) > 1 << 20
        assert response.headers["content-length"] == str(len(response.content))
        assert decode_image(response).size == (1200, 900)
    head = await server.get_raw(path.encode(), method="HEAD")
    assert head.headers["content-length"] == found.headers["content-length"]
    assert head.content == b""


async def test_a_large_original_is_streamed_as_it_is(server: Server) -> None:
    large = PICTURE[:-2] + bytes(2 << 20) + PICTURE[-2:]
    server.put("disk", "large.jpg", large)
    response = await server.get("/disk:large.jpg/full/max/0/default.jpg")
    assert response.content == large
    assert response.headers["content-length"] == str(len(large))


@pytest.mark.parametrize("parameters", ["full/max/0/default.jpg", "full/90,/0/default.jpg"])
async def test_a_client_that_has_the_image_gets_a_304_and_nothing_is_made(
    server: Server, parameters: str
) -> None:
    path = f"/disk:pic.jpg/{parameters}"
    first = await server.get(path)
    rendered = len(server.events_of(Rendered))
    response = await server.get(path, If_None_Match=first.headers["etag"])
    assert (response.status_code, response.content) == (304, b"")
    for name in ("etag", "cache-control", "last-modified", "access-control-allow-origin"):
        assert response.headers[name] == first.headers[name]
    since = await server.get(path, If_Modified_Since=first.headers["last-modified"])
    assert since.status_code == 304
    for header in ({"If_None_Match": '"x"'}, {"If_Modified_Since": formatdate(0, usegmt=True)}):
        assert (await server.get(path, **header)).content == first.content
    assert len(server.events_of(Rendered)) == rendered


async def test_a_304_is_given_even_where_nothing_is_cached(server: Server) -> None:
    path = "/disk:pic.jpg/full/91,/0/default.jpg"
    tag = (await server.get(path)).headers["etag"]
    for entry in server.services.store.paths():
        server.services.store.remove(entry)
    before = len(server.events_of(Rendered))
    assert (await server.get(path, If_None_Match=tag)).status_code == 304
    assert len(server.events_of(Rendered)) == before


async def test_different_images_have_different_tags(server: Server) -> None:
    tags = [
        (await server.get(f"/disk:{name}/{parameters}")).headers["etag"]
        for name in ("pic.jpg", "pic.png")
        for parameters in ("full/50,/0/default.jpg", "full/51,/0/default.jpg",
                           "full/50,/90/default.jpg", "full/50,/0/gray.jpg",
                           "full/50,/0/default.png", "0,0,50,50/50,/0/default.jpg")
    ]  # fmt: skip
    assert len(set(tags)) == len(tags)


async def test_two_types_never_share_a_derivative(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    settings = settings_below(
        tmp_path_factory.mktemp("types"),
        types={"one": {"source": "disk"}, "two": {"source": "disk"}},
    )
    async with running_app(settings) as server:
        server.put("one", "pic.jpg", picture(100, 100))
        server.put("two", "pic.jpg", picture(100, 50))
        for type_, height in (("one", 40), ("two", 20)):
            response = await server.get(f"/{type_}:pic.jpg/full/40,/0/default.jpg")
            assert decode_image(response).size == (40, height)


async def test_a_large_original_that_needs_no_change_is_delivered_byte_for_byte(
    server: Server,
) -> None:
    path = server.original_path("disk", "large.jpg")
    Image.effect_noise((1800, 1400), 80).convert("RGB").save(path, quality=95)
    content = path.read_bytes()
    assert len(content) > IN_MEMORY
    answer = await server.get("/disk:large.jpg/full/max/0/default.jpg")
    assert answer.content == content
    assert answer.headers["content-length"] == str(len(content))
