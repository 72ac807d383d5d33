"""Credits and resolution of images that a server makes: of originals, of pyramids, of tiles."""

import io
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from PIL import Image

from support.apps import Server, picture, running_app, settings_below
from support.jpeg_metadata import with_segments, xmp

pytestmark = pytest.mark.asyncio(loop_scope="module")

SPACES = 'xmlns:dc="http://purl.org/dc/elements/1.1/"'
RIGHTS = '<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">Mine</rdf:li></rdf:Alt></dc:rights>'
SIDE = 2048


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with running_app(
        settings_below(tmp_path_factory.mktemp("credits"), types={"disk": {"source": "disk"}})
    ) as server:
        data = with_segments(picture(SIDE, SIDE, dpi=(300, 300)), xmp(RIGHTS, SPACES))
        server.put("disk", "large.jpg", data)
        data = with_segments(picture(1000, 800, dpi=(300, 300)), xmp(RIGHTS, SPACES))
        server.put("disk", "small.jpg", data)
        yield server


async def said(server: Server, path: str) -> tuple[bool, int | None]:
    """Whether an image has the credits, and its resolution."""
    answer = await server.get(f"/iiif/3/disk:{path}")
    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(answer.content)) as image:
        dpi = image.info["jfif_density"][0] if image.info["jfif_unit"] else None
        return b"Mine" in (image.info.get("xmp") or b""), dpi


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        # The whole image, a tile, parts that are none: with a pyramid, after the first tile.
        ("large.jpg/0,0,512,512/512,/0/default.jpg", (False, 300)),
        ("large.jpg/0,0,1024,1024/512,/0/default.jpg", (False, 150)),
        ("large.jpg/full/512,/0/default.jpg", (True, 75)),
        ("large.jpg/full/1024,/0/default.jpg", (True, 150)),
        ("large.jpg/16,16,512,512/max/0/default.jpg", (True, 300)),
        ("large.jpg/17,16,512,512/max/0/gray.jpg", (True, 300)),
        ("large.jpg/full/256,/0/default.jpg", (False, 38)),
        ("large.jpg/full/max/0/default.jpg", (True, 300)),
        ("small.jpg/full/500,/0/default.jpg", (True, 150)),
        ("small.jpg/0,0,512,512/512,/0/default.jpg", (False, 300)),
        ("small.jpg/0,0,512,512/512,/90/gray.jpg", (False, 300)),
        ("small.jpg/0,0,513,512/513,/0/default.jpg", (True, 300)),
        ("small.jpg/full/max/0/default.jpg", (True, 300)),
    ],
)
async def test_tiles_carry_no_credits(
    server: Server, path: str, expected: tuple[bool, int]
) -> None:
    assert await said(server, path) == expected


async def test_physical_dimensions_in_both_versions(server: Server) -> None:
    for version in (2, 3):
        answer = await server.get(f"/iiif/{version}/disk:small.jpg/info.json")
        services = answer.json()["service"]
        service = services[0] if version == 3 else services
        assert (service["physicalScale"], service["physicalUnits"]) == (0.00333333, "in")
