"""Downloads: file names of images, originals as they are, thumbnails and previews."""

import io
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image

from iiif_server.iiif.identifier import Identifier
from iiif_server.server.signing import ExactRequest
from support.apps import LOOPBACK, Server, decode_image, picture, running_app, settings_below

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURE = picture()
TYPES = {
    "disk": {"source": "disk"},
    "open": {"source": "disk", "original": "download"},
    "secret": {"source": "disk", "original": "download", "access": "signed"},
}
MEMORY = {"memory_bytes": 50_000_000}
ORIGINAL = "/open:pic.jpg/original"
IMAGE = "/disk:pic.jpg/full/50,/0/default.jpg"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    root = tmp_path_factory.mktemp("downloads")
    settings = settings_below(root, types=TYPES, signing={"keys": ["k" * 32]}, cache=MEMORY)
    async with running_app(settings) as server:
        for name in TYPES:
            server.put(name, "pic.jpg", PICTURE)
        yield server


async def test_an_image_that_is_in_memory_is_an_attachment_where_it_is_asked_for(
    server: Server,
) -> None:
    for _ in range(2):
        shown = await server.get(IMAGE)
        assert shown.headers["content-disposition"] == 'inline; filename="pic_full_50x38.jpg"'
        saved = await server.get(f"{IMAGE}?download")
        assert saved.headers["content-disposition"] == 'attachment; filename="pic_full_50x38.jpg"'
        assert saved.content == shown.content
        assert saved.headers["etag"] == shown.headers["etag"]


async def test_what_cantaloupe_has_clients_ask_is_understood_and_not_repeated(
    server: Server,
) -> None:
    asked = "response-content-disposition=attachment%3B%20filename%3D%22evil%0D%0A.exe%22"
    answer = await server.get(f"{IMAGE}?{asked}")
    assert answer.headers["content-disposition"] == 'attachment; filename="pic_full_50x38.jpg"'
    refused = await server.get(f"{IMAGE}?response-content-disposition=form-data")
    assert refused.status_code == 400
    assert "attachment or inline" in refused.json()["error"]


async def test_a_name_is_in_both_alphabets(server: Server) -> None:
    server.put("disk", "Größe/…\u202e.jpg", picture())
    answer = await server.get("/disk:Gr%C3%B6%C3%9Fe%2F%E2%80%A6%E2%80%AE.jpg/full/max/0/gray.png")
    assert decode_image(answer).size == (200, 150)
    value = answer.headers["content-disposition"]
    assert value.startswith('inline; filename="Gro_e_')
    assert value.endswith("_full_200x150_gray.png")
    assert "filename*=UTF-8''Gr%C3%B6%C3%9Fe_" in value
    assert "%E2%80%AE" not in value


async def test_the_redirect_to_the_canonical_url_keeps_the_wish(tmp_path: Path) -> None:
    settings = settings_below(tmp_path, types={"disk": {"source": "disk"}}, canonical_redirect=True)
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", picture())
        answer = await server.get("/disk:pic.jpg/0,0,200,150/50,/0/color.jpg?download")
        assert answer.status_code == 303
        assert answer.headers["location"].endswith("/full/50,38/0/default.jpg?download")
        image = await server.get(answer.headers["location"].removeprefix("http://test"))
        assert image.headers["content-disposition"].startswith("attachment; ")


async def test_an_original_is_sent_as_it_is(server: Server) -> None:
    answer = await server.get(ORIGINAL)
    assert answer.status_code == 200
    assert answer.content == PICTURE
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["content-disposition"] == 'attachment; filename="pic.jpg"'
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["cache-control"] == "max-age=86400"
    head = await server.client.head(ORIGINAL, headers={"Range": "bytes=0-1"})
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "etag", "last-modified", "content-disposition"):
        assert head.headers[name] == answer.headers[name]


async def test_a_range_of_an_original(server: Server) -> None:
    size = len(PICTURE)
    for value, begin, end in [("0-9", 0, 10), ("100-", 100, size), ("-7", size - 7, size)]:
        answer = await server.get(ORIGINAL, Range=f"bytes={value}")
        assert answer.status_code == 206
        assert answer.content == PICTURE[begin:end]
        assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/{size}"
        assert answer.headers["content-length"] == str(end - begin)
    several = await server.get(ORIGINAL, Range="bytes=0-1,4-5")
    assert (several.status_code, several.content) == (200, PICTURE)
    none = await server.get(ORIGINAL, Range=f"bytes={size}-")
    assert none.status_code == 416
    assert none.headers["content-range"] == f"bytes */{size}"


async def test_a_range_of_a_large_original_is_read_from_its_place(server: Server) -> None:
    noise = Image.effect_noise((1500, 1000), 90)
    file = io.BytesIO()
    noise.save(file, "PNG")
    data = file.getvalue()
    assert len(data) > 1 << 20
    server.put("open", "large.png", data)
    answer = await server.get("/open:large.png/original", Range="bytes=7-1300000")
    assert answer.content == data[7:1_300_001]
    assert (await server.get("/open:large.png/original")).content == data


async def test_conditions(server: Server) -> None:
    first = await server.get(ORIGINAL)
    tag, date = first.headers["etag"], first.headers["last-modified"]
    assert not tag.startswith("W/")
    assert (await server.get(ORIGINAL, If_None_Match=tag)).status_code == 304
    assert (await server.get(ORIGINAL, If_Modified_Since=date)).status_code == 304
    both = await server.get(ORIGINAL, If_None_Match=tag, Range="bytes=0-1")
    assert (both.status_code, both.content) == (304, b"")
    assert "content-disposition" not in both.headers
    for condition in (tag, date):
        answer = await server.get(ORIGINAL, If_Range=condition, Range="bytes=0-1")
        assert (answer.status_code, answer.content) == (206, PICTURE[:2])
    answer = await server.get(ORIGINAL, If_Range='"other"', Range="bytes=0-1")
    assert (answer.status_code, answer.content) == (200, PICTURE)
    assert (await server.get(ORIGINAL, If_Match='"other"')).status_code == 412
    assert (await server.get(ORIGINAL, If_Match=tag)).status_code == 200


async def test_an_original_that_was_replaced_has_another_tag(server: Server) -> None:
    server.put("open", "new.jpg", PICTURE)
    tag = (await server.get("/open:new.jpg/original")).headers["etag"]
    other = picture(60, 60)
    server.put("open", "new.jpg", other)
    answer = await server.get("/open:new.jpg/original", If_Range=tag, Range="bytes=0-1")
    assert (answer.status_code, answer.content) == (200, other)


async def test_originals_are_offered_only_by_types_that_say_so(server: Server) -> None:
    refused = await server.get("/disk:pic.jpg/original")
    assert refused.status_code == 403
    assert "full/max/0/default.jpg?download" in refused.json()["error"]
    nowhere = await server.get("/disk:nothing.jpg/original")
    assert nowhere.json() == refused.json(), "whether the original exists stays unknown"
    assert (await server.get("/open:nothing.jpg/original")).status_code == 404
    assert (await server.get("/other:pic.jpg/original")).status_code == 404


@pytest.mark.parametrize(
    ("name", "data"),
    [("notes.txt", b"passwords"), ("page.jpg", b"<html>"), ("cut.jpg", b"\xff\xd8\xff\xe0")],
)
async def test_what_is_no_image_is_not_sent(server: Server, name: str, data: bytes) -> None:
    server.put("open", name, data)
    answer = await server.get(f"/open:{name}/original")
    assert answer.status_code in {415, 422}
    assert data not in answer.content


@pytest.mark.parametrize("name", ["..%2Fdisk%2Fpic.jpg", ".hidden.jpg", "%2Fetc%2Fpasswd"])
async def test_no_name_leads_out_of_the_folder(server: Server, name: str) -> None:
    server.put("open", ".hidden.jpg", PICTURE)
    assert (await server.get_raw(f"/open:{name}/original".encode())).status_code == 404


async def test_the_original_of_a_signed_type_needs_a_signature_of_all_of_it(
    server: Server,
) -> None:
    identifier, expires = Identifier("secret", "pic.jpg"), int(time.time()) + 60
    signatures = server.services.signatures
    assert signatures is not None
    assert (await server.get("/secret:pic.jpg/original")).status_code == 403
    exact = ExactRequest("3.0", "full/max/0/default.jpg")
    for signed, status in [
        (signatures.sign(identifier, expires), 200),
        (signatures.sign(identifier, expires, exact), 403),
        (signatures.sign(identifier, 1), 403),
    ]:
        answer = await server.get(f"/{signed}/secret:pic.jpg/original")
        assert answer.status_code == status
        if status == 200:
            assert answer.headers["cache-control"].startswith("private, ")


@pytest.mark.parametrize("prefix", ["", "/iiif/3", "/iiif/2"])
async def test_the_last_segment_is_the_function_and_encoded_slashes_are_the_name(
    server: Server, prefix: str
) -> None:
    server.put("open", "box/original", PICTURE)
    for name in ("open:box/original", "open:box%2Foriginal"):
        answer = await server.get_raw(f"{prefix}/{name}/original".encode())
        assert (answer.status_code, answer.content) == (200, PICTURE)
        assert answer.headers["content-disposition"] == 'attachment; filename="box_original.jpg"'
        information = await server.get_raw(f"{prefix}/{name}/info.json".encode())
        assert information.json()["width"] == 200
    for function in ("original", "thumbnail", "preview"):
        base = await server.get_raw(f"{prefix}/open:box%2F{function}".encode())
        assert base.status_code == 303, "an encoded slash: it is the base URI"
        assert base.headers["location"].endswith(f"{prefix}/open:box%2F{function}/info.json")
    assert (await server.get_raw(f"{prefix}/open:box/original".encode())).status_code == 404


@pytest.mark.parametrize(("function", "width"), [("thumbnail", 512), ("preview", 2048)])
async def test_thumbnails_and_previews_have_their_widths(
    server: Server, function: str, width: int
) -> None:
    server.put("disk", "wide.jpg", picture(3000, 100))
    first = await server.get(f"/disk:wide.jpg/{function}")
    assert decode_image(first).width == width
    name = f'inline; filename="wide_full_{width}x{decode_image(first).height}.jpg"'
    assert first.headers["content-disposition"] == name
    answer = await server.get(f"/disk:wide.jpg/{function}")
    assert (answer.content, answer.headers["content-disposition"]) == (first.content, name)
    assert 'engine;desc="memory"' in answer.headers["server-timing"]
    assert decode_image(await server.get(f"/disk:pic.jpg/{function}")).size == (200, 150)
    saved = await server.get(f"/disk:pic.jpg/{function}?download")
    assert saved.headers["content-disposition"].startswith("attachment; ")
    assert (await server.get(f"/disk:nothing.jpg/{function}")).status_code == 404
    assert (await server.get(f"/secret:pic.jpg/{function}")).status_code == 403


async def test_thumbnails_keep_to_the_limits_and_are_not_redirected(tmp_path: Path) -> None:
    settings = settings_below(
        tmp_path,
        types={"disk": {"source": "disk"}},
        canonical_redirect=True,
        limits={"max_width": 300},
        downloads={"thumbnail_width": 200, "preview_width": 700},
    )
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", picture(1000, 500))
        assert decode_image(await server.get("/disk:pic.jpg/thumbnail")).size == (200, 100)
        assert decode_image(await server.get("/disk:pic.jpg/preview")).size == (300, 150)
        assert decode_image(await server.get("/iiif/2/disk:pic.jpg/preview")).size == (300, 150)


async def test_an_original_of_limited_size_is_not_sent(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("id,path,max_width\nsmall,pic.jpg,100\nfree,pic.jpg,\n")
    types = {
        "disk": {"source": "disk"},
        "found": {"source": "lookup", "types": ["disk"], "table": str(table)}
        | {"original": "download"},
    }
    async with running_app(settings_below(tmp_path / "root", types=types)) as server:
        server.put("disk", "pic.jpg", PICTURE)
        refused = await server.get("/found:small/original")
        assert refused.status_code == 403
        assert "limited" in refused.json()["error"]
        assert (await server.get("/found:free/original")).content == PICTURE


async def test_a_proxy_sends_originals_below_the_folder_itself(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "pic.jpg").write_bytes(PICTURE)
    settings = settings_below(
        tmp_path / "root",
        types={
            "open": TYPES["open"],
            "away": TYPES["open"] | {"path": str(elsewhere)},
        },
        delivery={"accel_originals": "/_originals"},
        trusted_proxies=LOOPBACK,
    )
    async with running_app(settings) as server:
        server.put("open", "a b.jpg", PICTURE)
        target, asked = b"/open:a%20b.jpg/original", [(b"host", b"t"), (b"x-accel", b"on")]
        answer = await server.get_raw(target, asked)
        assert answer.headers["x-accel-redirect"] == "/_originals/open/a%20b.jpg"
        assert answer.content == b""
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["content-disposition"].startswith("attachment")
        ranged = [*asked, (b"if-range", b'"x"'), (b"range", b"bytes=0-1")]
        assert (await server.get_raw(target, ranged)).content == PICTURE
        assert (await server.get_raw(b"/away:pic.jpg/original", asked)).content == PICTURE
        stranger = await server.get_raw(target, asked, ("192.0.2.7", 1))
        assert stranger.content == PICTURE
        assert "x-accel-redirect" not in stranger.headers
