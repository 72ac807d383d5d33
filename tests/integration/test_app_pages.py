"""Pages of a TIFF, as images of their own: `name;N`."""

import io
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from iiif_server.telemetry.events import JobFailed
from support.apps import Server, assert_problem, picture, running_app, settings_below
from support.hostile import tiff_chain
from support.tiff_samples import TiffFile

pytestmark = pytest.mark.asyncio(loop_scope="module")

THUMBNAIL, MASK = 1, 4


def one(width: int, height: int, gray: int, kind: int = 0) -> TiffFile:
    """An image of one gray; `kind` is its NewSubfileType."""
    values = np.full((height, width, 1), gray, np.uint8)
    return TiffFile(values, photometric=1, tags={254: (4, [kind])})


def chained(*images: TiffFile) -> bytes:
    """A file of these images, in this order."""
    data = b""
    for image in images:
        data = image.write(before=data)
    return data


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    settings = settings_below(
        tmp_path_factory.mktemp("pages"), types={"scans": {"source": "disk", "cache_for": 100}}
    )
    async with running_app(settings) as server:
        book = chained(
            one(20, 10, 10, THUMBNAIL),
            one(60, 40, 60),
            one(30, 20, 30, THUMBNAIL),
            one(70, 50, 120, MASK),
            one(80, 64, 180),
            one(100, 90, 250),
        )
        server.put("scans", "book.tif", book)
        server.put("scans", "one.jpg", picture())
        server.put("scans", "many.tif", tiff_chain(10_000))
        server.put("scans", "too-many.tif", tiff_chain(10_001))
        server.put("scans", "loop.tif", tiff_chain(30, loop=True))
        yield server


async def info(server: Server, name: str) -> dict[str, object]:
    answer = await server.get(f"/scans:{name}/info.json")
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


async def gray(server: Server, name: str, region: str = "full") -> int:
    answer = await server.get(f"/scans:{name}/{region}/max/0/gray.png")
    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(answer.content)) as image:
        low, high = image.convert("L").getextrema()
    assert low == high
    return int(low)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "size", "value"),
    [
        ("book.tif", (60, 40), 60),
        ("book.tif;1", (60, 40), 60),
        ("book.tif;2", (80, 64), 180),
        ("book.tif%3B3", (100, 90), 250),
    ],
)
async def test_each_page_is_an_image(
    server: Server, name: str, size: tuple[int, int], value: int
) -> None:
    found = await info(server, name)
    assert (found["width"], found["height"]) == size
    assert str(found["id"]).endswith(f"/scans:{name}")
    assert await gray(server, name) == value
    assert await gray(server, name, "5,5,10,10") == value


async def test_pages_of_one_file_are_told_apart_by_their_tags(server: Server) -> None:
    tags = {
        (await server.get(f"/scans:book.tif{page}/0,0,20,20/max/0/default.jpg")).headers["etag"]
        for page in ("", ";2", ";3")
    }
    assert len(tags) == 3


async def test_the_first_page_is_cached_once(server: Server) -> None:
    """Whichever of its two names it is requested by."""
    view = "3,3,20,20/max/0/default.jpg"
    first = await server.get(f"/scans:book.tif/{view}")
    stored = sorted(server.settings.cache_path.rglob("*.jpg"))
    again = await server.get(f"/scans:book.tif;1/{view}")
    assert first.headers["etag"] == again.headers["etag"]
    assert first.content == again.content
    assert stored
    assert sorted(server.settings.cache_path.rglob("*.jpg")) == stored


async def test_the_viewer_leads_to_the_other_pages(server: Server) -> None:
    for name, before, after in (
        ("", None, "book.tif%3B2"),
        (";1", None, "book.tif%3B2"),
        (";2", "book.tif", "book.tif%3B3"),
        (";3", "book.tif%3B2", None),
    ):
        page = (await server.get(f"/scans:book.tif{name}/view")).text
        assert f"book.tif, page {name[1:] or 1} of 3" in page
        for rel, target in (("prev", before), ("next", after)):
            assert (f'rel="{rel}"' in page) is (target is not None)
            if target:
                assert f'rel="{rel}" href="../scans:{target}/view"' in page


async def test_an_image_of_one_page_leads_to_no_other(server: Server) -> None:
    page = (await server.get("/scans:one.jpg/view")).text
    assert 'rel="next"' not in page
    assert "page 1 of" not in page


async def test_a_folder_tells_numbers_of_pages(server: Server) -> None:
    page = (await server.get("/?folder=scans")).text
    assert "3 pages" in page
    assert "10,000 pages" in page
    assert page.count(" pages</span>") == 3, "the number of a refused file is unknown"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("book.tif;4", "This original has 3 pages; there is no page 4."),
        ("many.tif;10001", "This original has 10,000 pages; there is no page 10,001."),
        ("one.jpg;2", "This original has one page; there is no page 2."),
    ],
)
async def test_a_page_beyond_the_last_is_not_found(server: Server, name: str, said: str) -> None:
    assert_problem(await server.get(f"/scans:{name}/info.json"), 404, said)
    assert not server.events_of(JobFailed), "clients cannot fill the log"


async def test_a_page_far_behind_opens(server: Server) -> None:
    assert (await info(server, "many.tif;5000"))["width"] == 8


async def test_too_many_pages_are_refused(server: Server) -> None:
    answer = await server.get("/scans:too-many.tif;2/info.json")
    assert answer.status_code == 413
    assert "pages" in answer.text


async def test_a_chain_in_a_loop_has_each_page_once(server: Server) -> None:
    assert (await info(server, "loop.tif;30"))["width"] == 8
    assert await gray(server, "loop.tif;30") == 0
    beyond = await server.get("/scans:loop.tif;31/info.json")
    assert beyond.status_code == 404
    assert "30" in beyond.text


async def test_a_manifest_has_a_canvas_for_each_page(server: Server) -> None:
    document = (await server.get("/scans:book.tif/manifest.json")).json()
    canvases = document["items"]
    sizes = [(canvas["width"], canvas["height"]) for canvas in canvases]
    assert sizes == [(60, 40), (80, 64), (100, 90)]
    assert [canvas["label"] for canvas in canvases] == [{"none": [f"Page {n}"]} for n in (1, 2, 3)]
    assert len({canvas["id"] for canvas in canvases}) == 3
    for canvas, size in zip(canvases, sizes, strict=True):
        body = canvas["items"][0]["items"][0]["body"]
        for service in body["service"]:
            address = service.get("id") or service["@id"]
            found = (await server.get(f"{address.removeprefix('http://test')}/info.json")).json()
            assert (found["width"], found["height"]) == size
            assert (found.get("id") or found["@id"]) == address
        image = await server.get(body["id"].removeprefix("http://test"))
        assert Image.open(io.BytesIO(image.content)).size == size


async def test_the_manifest_of_a_page_has_that_page(server: Server) -> None:
    document = (await server.get("/scans:book.tif;2/manifest.json")).json()
    assert [canvas["width"] for canvas in document["items"]] == [80]
    single = (await server.get("/scans:one.jpg/manifest.json")).json()
    assert [canvas["label"] for canvas in single["items"]] == [{"none": ["one.jpg"]}]


async def test_a_manifest_has_ten_thousand_pages(server: Server) -> None:
    document = (await server.get("/scans:many.tif/manifest.json")).json()
    assert len(document["items"]) == 10_000
    last = document["items"][-1]["items"][0]["items"][0]["body"]["service"][0]["id"]
    assert last == "http://test/scans:many.tif;10000"
