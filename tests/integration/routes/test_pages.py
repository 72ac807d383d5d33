"""Web pages: gallery, viewer, documentation, and their files."""

import gzip
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
import pytest_asyncio

from iiif_server.images.limits import LimitsOptions
from iiif_server.pages.paging import PAGE_SIZE
from iiif_server.pages.rendering import STATIC_PREFIX
from support.apps import (
    LOOPBACK,
    Server,
    assert_problem,
    decode_image,
    picture,
    raw_request,
    running_app,
    settings_below,
)
from support.pages import BROWSER, parse_elements, use_bundle, write_bundle

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "a-key-of-these-tests-with-enough-letters"
EVIL = "<img src=x onerror=1>\"&'.jpg"
TYPES: dict[str, Any] = {
    "plates": {
        "source": "disk",
        "rights": "https://creativecommons.org/licenses/by/4.0/",
        "info": {"attribution": "<b>The Museum</b>"},
    },
    "closed": {"source": "disk", "access": "signed"},
    "elsewhere": {"source": "web", "url": "https://upstream.invalid/{name}"},
}
TYPES_ON_DISK: dict[str, Any] = {"plates": {"source": "disk"}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    root = tmp_path_factory.mktemp("pages")
    settings = settings_below(root, types=TYPES, signing={"keys": [KEY]}, trusted_proxies=LOOPBACK)
    async with running_app(settings) as server:
        use_bundle(server, write_bundle(root / "bundle"))
        server.put("plates", "pic.jpg", picture())
        server.put("plates", EVIL, picture(40, 30))
        server.put("plates", "box 1/a&b.jpg", picture(40, 30))
        server.put("plates", "notes.txt", b"no image")
        server.put("closed", "pic.jpg", picture())
        for number in range(2 * PAGE_SIZE + 1):
            path = server.original_path("plates", f"many/{number}.jpg")
            path.parent.mkdir(exist_ok=True)
            path.touch()
        yield server


def signed(server: Server, name: str) -> str:
    """The start of the address of an image of the closed type."""
    from iiif_server.iiif.identifier import Identifier  # noqa: PLC0415

    assert server.services.signatures is not None
    identifier = Identifier("closed", name)
    return f"{server.services.signatures.sign(identifier, 10**11)}/{identifier.encoded}"


# --- the gallery ----------------------------------------------------------------------------


async def test_the_front_page_shows_the_types_that_everyone_may_see(server: Server) -> None:
    response = await server.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    page = parse_elements(response.text)
    assert "./?folder=plates" in page.all("a", "href")
    assert "./plates:pic.jpg/view" in page.all("a", "href")
    assert "elsewhere:" in response.text
    assert "closed" not in response.text
    assert "The Collection" in response.text


async def test_thumbnails_are_lazy_and_answered(server: Server) -> None:
    page = parse_elements((await server.get("/")).text)
    assert page.all("img", "loading") == ["lazy"] * len(page.all("img", "src"))
    assert len(page.all("img", "src")) == 2
    for address in page.all("img", "src"):
        image = decode_image(await server.client.get(urljoin("http://test/", address)))
        assert max(image.size) <= 400


async def test_folders_are_paged_and_each_image_is_on_one_page(server: Server) -> None:
    seen: list[str] = []
    for number in (1, 2, 3):
        response = await server.get(f"/?folder=plates:many&page={number}")
        links = parse_elements(response.text).all("a", "href")
        seen += [link for link in links if link.endswith("/view")]
        assert f"page {number} of 3" in response.text
    assert seen == [f"./plates:many%2F{number}.jpg/view" for number in range(2 * PAGE_SIZE + 1)]


async def test_a_folder_can_be_filtered_by_words(server: Server) -> None:
    params = {"folder": "plates:many", "words": " 9 "}
    response = await server.client.get("/", params=params)
    links = parse_elements(response.text).all("a", "href")
    shown = [link for link in links if link.endswith("/view")]
    expected = [number for number in range(2 * PAGE_SIZE + 1) if "9" in str(number)]
    assert shown == [f"./plates:many%2F{number}.jpg/view" for number in expected]
    assert 'value="9"' in response.text
    pages = await server.client.get("/", params={"folder": "plates:many", "words": "JPG"})
    assert "?folder=plates:many&amp;page=2&amp;words=JPG" in pages.text
    nothing = await server.client.get("/", params={"folder": "plates:many", "words": "9 x"})
    assert "No name has this in it." in nothing.text
    evil = await server.client.get("/", params={"folder": "plates:many", "words": '"><b>' * 99})
    assert (evil.status_code, "<b>" in evil.text) == (200, False)


@pytest.mark.parametrize(
    ("text", "page"), [("", 1), ("0", 1), ("47.jpg", 1), ("48", 2), ("95.x", 3), ("z", 3)]
)
async def test_a_jump_leads_to_the_page_of_a_name(server: Server, text: str, page: int) -> None:
    params = {"folder": "plates:many", "words": text, "by": "jump"}
    response = await server.client.get("/", params=params)
    assert response.status_code == 303
    target = response.headers["location"].removeprefix("http://test")
    assert target == f"/?folder=plates%3Amany&page={page}"
    assert f"page {page} of 3" in (await server.get(target)).text


async def test_formats_that_are_not_read_are_counted_and_named(server: Server) -> None:
    for name in ("a.dng", "b.DNG", "c.svg", "d.xml"):
        server.put("plates", f"mixed/{name}", b"")
    server.put("plates", "mixed/e.jpg", picture(40, 30))
    page = (await server.get("/?folder=plates:mixed")).text
    assert "3 files of formats that are not read: DNG, SVG." in page
    assert "formats that are not read" not in (await server.get("/?folder=plates:many")).text


async def test_rare_formats_are_listed_where_they_are_read(tmp_path: Path) -> None:
    settings = settings_below(
        tmp_path, types={"plates": {"source": "disk"}}, limits=LimitsOptions(rare=True)
    )
    async with running_app(settings) as server:
        for name in ("a.tga", "b.PCX", "c.dng", "d.dcm", "e.svg"):
            server.put("plates", name, b"")
        page = (await server.get("/?folder=plates")).text
    assert all(name in page for name in ("a.tga", "b.PCX", "c.dng", "d.dcm"))
    assert "1 file of formats that are not read: SVG." in page


@pytest.mark.parametrize("page", ["0", "-1", "4", "99999999999999999999", "x", "", "\u0661"])
async def test_a_page_that_is_none_is_the_nearest_that_is(server: Server, page: str) -> None:
    response = await server.client.get("/", params={"folder": "plates:many", "page": page})
    assert response.status_code == 200
    assert re.search(r"page [13] of 3", response.text)


async def test_names_are_shown_and_linked_as_they_are_and_never_become_html(
    server: Server,
) -> None:
    response = await server.get("/?folder=plates")
    assert "onerror=1>" not in response.text
    page = parse_elements(response.text)
    (link,) = [link for link in page.all("a", "href") if "onerror" in link]
    viewer = await server.client.get(urljoin("http://test/", link))
    assert viewer.status_code == 200
    assert "onerror=1>" not in viewer.text
    assert parse_elements(viewer.text).all("body", "data-identifier") == [f"plates:{EVIL}"]
    assert "onerror" not in {name for _, attributes in page.found for name in attributes}


async def test_a_folder_leads_to_its_images_and_they_lead_back(server: Server) -> None:
    front = parse_elements((await server.get("/?folder=plates")).text)
    (folder,) = [link for link in front.all("a", "href") if "box" in link]
    page = parse_elements((await server.client.get(urljoin("http://test/", folder))).text)
    (image,) = [link for link in page.all("a", "href") if link.endswith("/view")]
    viewer = parse_elements((await server.client.get(urljoin("http://test/", image))).text)
    back = [urljoin(f"http://test/{image}", link) for link in viewer.all("a", "href")]
    assert urljoin("http://test/", folder) in back


@pytest.mark.parametrize(
    "folder",
    ["closed", "closed:", "nothing", "elsewhere", "", ":", "plates:..", "plates:../closed",
     "plates:no", "plates:pic.jpg", "plates:many/..", "plates:.", "../closed", "signed/1.a/closed"],
)  # fmt: skip
async def test_what_is_not_open_to_everyone_is_no_folder(server: Server, folder: str) -> None:
    response = await server.client.get("/", params={"folder": folder})
    assert response.status_code == 404
    assert "There is no folder of images with this name" in response.text
    assert response.headers["cache-control"] == "no-store"


async def test_links_out_of_the_folder_are_not_followed(server: Server) -> None:
    (server.settings.source_path / "plates/out").symlink_to(server.settings.source_path / "closed")
    try:
        assert (await server.get("/?folder=plates:out")).status_code == 404
    finally:
        (server.settings.source_path / "plates/out").unlink()


async def test_a_gallery_that_is_turned_off_shows_nothing_but_opens_images(tmp_path: Path) -> None:
    settings = settings_below(
        tmp_path, types=TYPES, signing={"keys": [KEY]}, pages={"gallery": False}
    )
    async with running_app(settings) as server:
        use_bundle(server, write_bundle(tmp_path / "bundle"))
        server.put("plates", "pic.jpg", picture())
        front = await server.get("/")
        assert front.status_code == 200
        for word in ("plates", "elsewhere", "closed"):
            assert word not in front.text
        assert (await server.get("/?folder=plates")).status_code == 404
        assert (await server.get("/?open=plates:pic.jpg")).status_code == 303
        viewer = await server.get("/plates:pic.jpg/view")
        assert viewer.status_code == 200
        assert "?folder=" not in viewer.text


async def test_a_type_whose_folder_is_not_there_is_shown_without_images(tmp_path: Path) -> None:
    async with running_app(
        settings_below(tmp_path, types=TYPES | {}, signing={"keys": [KEY]})
    ) as server:
        response = await server.get("/")
        assert response.status_code == 200
        assert "plates" in response.text


@pytest.mark.parametrize(
    ("typed", "target"),
    [
        ("plates:pic.jpg", "/plates:pic.jpg/view"),
        (" plates:box 1/a&b.jpg ", "/plates:box%201/a%26b.jpg/view"),
        ("http://test/plates:pic.jpg/info.json", "/plates:pic.jpg/view"),
        ("http://test/plates:box%201%2Fa%26b.jpg", "/plates:box%201/a%26b.jpg/view"),
        ("http://test/plates:pic.jpg/view?with=x", "/plates:pic.jpg/view"),
        ("//evil.example/x", "///evil.example/x/view"),
        ("https://evil.example/", "/https://evil.example//view"),
        ("a\r\nSet-Cookie: x", "/a%0D%0ASet-Cookie:%20x/view"),
    ],
)
async def test_what_is_typed_leads_to_a_viewer_of_this_server(
    server: Server, typed: str, target: str
) -> None:
    response = await server.client.get("/", params={"open": typed})
    assert response.status_code == 303
    assert response.headers["location"] == f"http://test{target}"


@pytest.mark.parametrize("typed", ["http://test/a%zz", "http://test/%ff"])
async def test_what_is_typed_and_can_be_no_address_is_refused_on_a_page(
    server: Server, typed: str
) -> None:
    response = await server.client.get("/", params={"open": typed})
    assert response.status_code == 400
    assert response.headers["content-type"] == "text/html; charset=utf-8"


# --- the viewer -----------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/iiif/3"])
@pytest.mark.parametrize("name", ["pic.jpg", "box%201/a&b.jpg", "box%201%2Fa&b.jpg"])
async def test_each_image_has_a_viewer(server: Server, prefix: str, name: str) -> None:
    path = f"{prefix}/plates:{name}/view"
    response = await server.get_raw(path.encode())
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-cache"
    page = parse_elements(response.text)
    (root,) = page.all("body", "data-root")
    assert urlsplit(urljoin(f"http://test{path}", root)).path == "/"
    for address in page.all("script", "src"):
        found = urlsplit(urljoin(f"http://test{path}", address)).path
        assert (await server.get(found)).status_code == 200, found


async def test_the_viewer_tells_what_is_known_of_the_image(server: Server) -> None:
    text = (await server.get("/plates:pic.jpg/view")).text
    assert "200 \u00d7 150 pixels" in text
    assert 'href="https://creativecommons.org/licenses/by/4.0/"' in text
    assert "CC BY 4.0" in text
    assert "&lt;b&gt;The Museum&lt;/b&gt;" in text


async def test_version_2_has_the_same_viewer(server: Server) -> None:
    response = await server.get("/iiif/2/plates:pic.jpg/view?with=plates:x")
    assert response.status_code == 303
    assert response.headers["location"] == "http://test/iiif/3/plates:pic.jpg/view?with=plates:x"


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/plates:missing.jpg/view", 404, "There is no image with this identifier"),
        ("/nothing:x/view", 404, "This server has no type"),
        ("/plates:notes.txt/view", 415, ""),
        ("/plates:a%01b/view", 400, "control character"),
        ("/plates:/view", 400, "no name"),
        ("/view", 303, ""),
    ],
)
async def test_what_cannot_be_viewed_has_a_page_with_the_same_status(
    server: Server, path: str, status: int, words: str
) -> None:
    response = await server.get_raw(
        path.encode(), [(b"host", b"test"), (b"accept", BROWSER.encode())]
    )
    assert response.status_code == status
    if status != 303:
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert response.headers["cache-control"] == "no-store"
        assert words in response.text
        data = path.removesuffix("/view") + "/info.json"
        assert (await server.get_raw(data.encode())).status_code == status


async def test_a_name_may_end_like_the_viewer(server: Server) -> None:
    server.put("plates", "street/view", picture(40, 30))
    encoded = await server.get_raw(b"/plates:street%2Fview")
    assert encoded.headers["location"] == "http://test/plates:street%2Fview/info.json"
    assert (await server.get("/plates:street/view/view")).status_code == 200
    assert (await server.get("/plates:street/view/info.json")).json()["width"] == 40


async def test_a_signed_image_has_its_viewer_below_its_signed_address(server: Server) -> None:
    for prefix in ("", "/iiif/3"):
        response = await server.get(f"{prefix}/{signed(server, 'pic.jpg')}/view")
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-store"
        assert "?folder=" not in response.text
        assert (await server.get(f"{prefix}/closed:pic.jpg/view")).status_code == 403
        assert (await server.get(f"{prefix}/closed:missing.jpg/view")).status_code == 403
    wrong = signed(server, "pic.jpg").replace("closed:pic", "closed:other")
    assert (await server.get(f"/{wrong}/view")).status_code == 403
    missing = await server.get(f"/{signed(server, 'missing.jpg')}/view")
    assert missing.status_code == 404


async def test_pages_hold_below_a_prefix(tmp_path: Path) -> None:
    settings = settings_below(tmp_path, types={"plates": {"source": "disk"}}, root_path="/images")
    async with running_app(settings) as server:
        use_bundle(server, write_bundle(tmp_path / "bundle"))
        server.put("plates", "a/pic.jpg", picture())
        for path in (
            "/images/",
            "/images/?folder=plates:a",
            "/images/plates:a/pic.jpg/view",
            "/images/docs",
        ):
            response = await raw_request(server.app, path.encode())
            assert response.status_code == 200, path
            page = parse_elements(response.text)
            for address in [*page.all("link", "href"), *page.all("script", "src")]:
                found = urlsplit(urljoin(f"http://test{path}", address)).path
                assert found.startswith("/images/")
                assert (await raw_request(server.app, found.encode())).status_code == 200, found


async def test_a_proxy_that_strips_a_prefix_changes_no_address_in_a_page(server: Server) -> None:
    plain = await server.get("/plates:pic.jpg/view")
    behind = await server.get("/plates:pic.jpg/view", X_Forwarded_Prefix="/iiif")
    assert behind.text == plain.text
    front = await server.get("/?open=plates:pic.jpg", X_Forwarded_Prefix="/iiif")
    assert front.headers["location"] == "http://test/iiif/plates:pic.jpg/view"


# --- who gets what --------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/iiif/3", "/iiif/2"])
async def test_browsers_get_the_viewer_and_everyone_else_the_information(
    server: Server, prefix: str
) -> None:
    address = f"{prefix}/plates:pic.jpg"
    for accept, rest in (
        (BROWSER, "view"),
        ("*/*", "info.json"),
        ("application/json", "info.json"),
    ):
        response = await server.get(address, Accept=accept)
        assert response.status_code == 303
        assert response.headers["location"] == f"http://test{address}/{rest}"
        assert response.headers["vary"] == "Accept"


async def test_browsers_are_told_on_a_page_that_there_is_no_image(server: Server) -> None:
    response = await server.get("/plates:missing.jpg", Accept=BROWSER)
    page = await server.get(response.headers["location"].removeprefix("http://test"))
    assert page.status_code == 404
    assert "<h1>" in page.text


async def test_what_is_remembered_for_programs_is_not_given_to_browsers(tmp_path: Path) -> None:
    settings = settings_below(
        tmp_path, types={"plates": {"source": "disk"}}, cache={"memory_bytes": "10MB"}
    )
    async with running_app(settings) as server:
        server.put("plates", "pic.jpg", picture())
        for accept in ("*/*", BROWSER, "*/*", BROWSER):
            information = await server.get("/plates:pic.jpg/info.json", Accept=accept)
            assert information.json()["width"] == 200
            response = await server.get("/plates:pic.jpg", Accept=accept)
            wanted = "view" if accept == BROWSER else "info.json"
            assert response.headers["location"].endswith(f"/{wanted}")


# --- what pages are made of -----------------------------------------------------------------


async def test_files_of_pages_are_kept_for_ever_under_their_digest(server: Server) -> None:
    digest = server.services.files.digest
    response = await server.get(f"{STATIC_PREFIX}/{digest}/viewer/main.js")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/javascript; charset=utf-8"
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    old = await server.get(f"{STATIC_PREFIX}/0123456789abcdef/viewer/main.js")
    assert old.content == response.content
    assert old.headers["cache-control"] == "no-cache"
    tag = response.headers["etag"]
    again = await server.get(f"{STATIC_PREFIX}/{digest}/viewer/main.js", If_None_Match=tag)
    assert (again.status_code, again.content) == (304, b"")


async def test_files_of_pages_are_compressed_for_those_who_take_it(server: Server) -> None:
    path = f"{STATIC_PREFIX}/x/openseadragon/openseadragon.min.js".encode()
    plain = await server.get_raw(path)
    small = await server.get_raw(path, [(b"host", b"test"), (b"accept-encoding", b"gzip, br")])
    assert plain.headers["vary"] == small.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in plain.headers
    assert small.headers["content-encoding"] == "gzip"
    assert int(small.headers["content-length"]) < len(plain.content)
    assert small.content == plain.content or gzip.decompress(small.content) == plain.content


@pytest.mark.parametrize(
    "name",
    ["", "nothing.js", "../rendering.py", "%2e%2e/rendering.py", "viewer", "viewer/../pages.css",
     "/etc/passwd", "templates/base.html", "bundle.py"],
)  # fmt: skip
async def test_nothing_else_is_a_file_of_a_page(server: Server, name: str) -> None:
    response = await server.get_raw(f"{STATIC_PREFIX}/x/{name}".encode())
    assert_problem(response, 404)


async def test_no_identifier_can_take_the_place_of_pages(tmp_path: Path) -> None:
    types = {"plates": {"source": "disk"}}
    async with running_app(settings_below(tmp_path, types=types, default_type="plates")) as server:
        server.put("plates", f"{STATIC_PREFIX[1:]}/x/pages.css", picture())
        response = await server.get(f"{STATIC_PREFIX}/x/pages.css")
        assert response.headers["content-type"] == "text/css; charset=utf-8"
        assert_problem(await server.get(f"{STATIC_PREFIX}/x/pages.css/info.json"), 404)


async def test_a_page_without_its_scripts_says_what_brings_them(
    server: Server, tmp_path: Path
) -> None:
    before = server.services
    use_bundle(server, tmp_path / "nothing")
    try:
        response = await server.get("/docs")
        assert response.status_code == 503
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert "swagger-ui-dist" in response.text
        assert "make assets" in response.text
        # The gallery needs nothing; the viewer shows a plain picture (test_embedding.py).
        assert (await server.get("/")).status_code == 200
    finally:
        server.app.state.services = before


async def test_crawlers_are_let_in_at_the_front_and_asked_to_go_no_further(server: Server) -> None:
    response = await server.get("/robots.txt")
    assert response.headers["content-type"].startswith("text/plain")
    assert response.text == "User-agent: *\nAllow: /$\nDisallow: /\n"


@pytest.mark.parametrize(
    ("robots", "text"),
    [("all", "User-agent: *\nDisallow:\n"), ("none", "User-agent: *\nDisallow: /\n")],
)
async def test_what_crawlers_are_told_can_be_chosen(tmp_path: Path, robots: str, text: str) -> None:
    async with running_app(settings_below(tmp_path, pages={"robots": robots})) as server:
        assert (await server.get("/robots.txt")).text == text


async def test_there_is_an_icon(server: Server) -> None:
    response = await server.get("/favicon.ico")
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in response.headers["content-security-policy"]


# --- a page of thumbnails -------------------------------------------------------------------


async def test_a_page_of_thumbnails_makes_no_pyramids_and_a_viewer_does(tmp_path: Path) -> None:
    settings = settings_below(
        tmp_path,
        types={"plates": {"source": "disk"}},
        pyramids={"min_pixels": 100_000},
    )
    async with running_app(settings) as server:
        # Sides that are ladders of the thumbnail's, so that any other format were a tile.
        for number in range(3):
            server.put("plates", f"{number}.jpg", picture(1600, 1200))
        page = parse_elements((await server.get("/?folder=plates")).text)
        assert len(page.all("img", "src")) == 3
        for address in page.all("img", "src"):
            assert decode_image(await server.client.get(urljoin("http://test/", address))).size == (
                400,
                300,
            )
        status = await server.status()
        assert status["pyramids"] == {"open": 0, "building": 0}
        assert status["made_by"] == {"raster": 3}
        decode_image(await server.get("/plates:0.jpg/full/400,300/0/default.jpg"))
        assert (await server.status())["pyramids"]["open"] > 0


async def test_a_folder_of_many_files_is_shown_to_its_end(tmp_path: Path) -> None:
    async with running_app(
        settings_below(tmp_path, types={"plates": {"source": "disk"}})
    ) as server:
        folder = server.original_path("plates", "many")
        folder.mkdir(parents=True)
        first = folder / "0.jpg"
        first.touch()
        for number in range(1, 3000):
            os.link(first, folder / f"{number}.jpg")
        response = await server.get("/?folder=plates:many&page=63")
        assert "3,000 images, page 63 of 63" in response.text
        assert "2999.jpg" in response.text


@pytest.fixture
def shared_memory() -> Iterator[Path]:
    """A folder on a file system that keeps times of any year; ext4 does not."""
    tmpfs = Path("/dev/shm")  # noqa: S108 - wherever there is Linux
    if not tmpfs.is_dir():
        pytest.skip("there is no tmpfs here")
    with TemporaryDirectory(dir=tmpfs) as folder:
        yield Path(folder)


async def test_originals_from_years_that_no_calendar_has_are_shown_like_others(
    shared_memory: Path,
) -> None:
    async with running_app(settings_below(shared_memory, types=TYPES_ON_DISK)) as server:
        use_bundle(server, write_bundle(shared_memory / "bundle"))
        for seconds in (300_000_000_000, -63_000_000_000, 2**40):
            name = f"dated/{seconds}.jpg"
            path = server.put("plates", name, picture())
            os.utime(path, (seconds, seconds))
            assert path.stat().st_mtime == seconds
            for part in ("view", "manifest.json", "info.json", "full/50,/0/default.jpg"):
                response = await server.get(f"/plates:{name}/{part}")
                assert response.status_code == 200, (part, response.text)
                assert "last-modified" not in response.headers
            assert "File date" not in (await server.get(f"/plates:{name}/view")).text
