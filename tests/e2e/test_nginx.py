"""Server behind Debian's nginx, with the configurations of deploy/nginx."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from support.nginx import DEPLOY, PICTURE, Site, running_site

pytestmark = pytest.mark.e2e

SMALL = "/iiif/pictures:a.jpg/full/300,/0/default.jpg"
LARGE = "/iiif/pictures:a.jpg/full/^1600,/0/default.png"
"""More than 1 MB."""


def comparable_headers(answer: httpx.Response) -> dict[str, str]:
    """Return the header fields of a response that nginx must not change."""
    varying = {
        "date",
        "server",
        "connection",
        "x-cache",
        "x-upstream",
        "server-timing",
        "accept-ranges",
        "age",
    }
    varying |= {"x-request-id"}
    return {name: value for name, value in answer.headers.items() if name not in varying}


@pytest.fixture(scope="module")
def caching_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Site whose nginx caches responses (proxy_cache)."""
    folder = tmp_path_factory.mktemp("kept")
    with running_site(folder, "iiif-server.conf") as site:
        yield site


@pytest.fixture(scope="module")
def accel_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Site whose nginx sends the server's cached files (X-Accel-Redirect)."""
    settings = 'delivery.accel_redirect = "/_derivatives"\n'
    with running_site(tmp_path_factory.mktemp("accel"), "iiif-server-accel.conf", settings) as site:
        yield site


FORGED_HEADERS = {
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Port": "666",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-BasePath": "/evil",
    "X-Forwarded-Path": "/evil",
    "X-Forwarded-For": "evil.example",
    "Forwarded": "host=evil.example;proto=https",
    "X-Request-Id": "evil",
    "X-Accel": "on",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "evil=1",
    "baggage": "evil=1",
}


def assert_clean(site: Site, answer: httpx.Response, path: str) -> None:
    """Assert that a response contains nothing of the forged header fields of a client."""
    assert answer.status_code == 200
    text = "".join(f"{name}: {value}\n" for name, value in answer.headers.items())
    if path.endswith(".json"):
        text += answer.text
    for word in ("evil", ":666", "https://127"):
        assert word not in text
    assert f"{site.url}/iiif/" in text


def request_with_forged_headers(site: Site, path: str) -> None:
    """Request a path with each forged header field, and all; after each, request it without."""
    for number, headers in enumerate(
        [*({name: FORGED_HEADERS[name]} for name in FORGED_HEADERS), FORGED_HEADERS]
    ):
        target = path.replace("WIDTH", str(200 + number))
        assert_clean(site, site.get(target, **headers), target)
        assert_clean(site, site.get(target), target)


class CommonTests:
    """Tests that both configurations pass."""

    def test_prefix_without_slash_redirects_to_the_gallery(self, site: Site) -> None:
        redirect = site.get("/iiif")
        assert redirect.status_code == 301
        assert redirect.headers["location"] in {f"{site.url}/iiif/", "/iiif/"}
        page = site.get("/iiif/")
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")

    @pytest.mark.parametrize(
        ("version", "key"), [("iiif/2", "@id"), ("iiif/3", "id"), ("iiif", "id")]
    )
    def test_urls_of_both_versions_are_those_below_the_prefix(
        self, site: Site, version: str, key: str
    ) -> None:
        path = f"/{version}/pictures:a.jpg"
        id_ = site.get(f"{path}/info.json").json()[key]
        assert id_ == f"{site.url}{path}"
        size = "300," if version == "iiif/2" else "300,233"
        for _ in range(2):
            image = site.get(f"{path}/full/300,/0/default.jpg")
            assert image.status_code == 200
            assert f"<{id_}/full/{size}/0/default.jpg>" in image.headers["link"]
        redirect = site.get(path)
        assert redirect.headers["location"] == f"{id_}/info.json"

    @pytest.mark.parametrize(
        "path",
        [
            "/iiif/pictures:a.jpg/full/WIDTH,/0/default.jpg",
            "/iiif/2/pictures:a.jpg/full/WIDTH,/0/gray.jpg",
            "/iiif/pictures:a.jpg/info.json",
            "/iiif/3/pictures:a.jpg/info.json",
            "/iiif/pictures:a.jpg/manifest.json",
        ],
    )
    def test_forged_headers_of_a_client_are_ignored(self, site: Site, path: str) -> None:
        request_with_forged_headers(site, path)

    def test_longest_identifiers_pass_nginx(self, site: Site) -> None:
        folders = "/".join(["ü" * 120] * 12)  # a path has 4,096 bytes on Linux
        path = site.folder / "source" / "pictures" / folders
        path.mkdir(parents=True)
        (path / "a.jpg").write_bytes(PICTURE)
        image = f"/iiif/pictures:{quote(folders, safe='')}%2Fa.jpg/full/300,/0/default.jpg"
        for _ in range(2):
            assert site.get(image).status_code == 200
        longest = "%F0%9F%96%BC" * (4096 - len("pictures:"))
        answer = site.get(f"/iiif/pictures:{longest}/full/300,/0/default.jpg")
        assert answer.status_code == 404
        assert answer.json()["error"] == "There is no image with this identifier."
        redirect = site.get(f"/iiif/pictures:{longest}")
        assert redirect.status_code == 303
        assert longest in redirect.headers["location"]


class TestProxyCache(CommonTests):
    @pytest.fixture
    def site(self, caching_site: Site) -> Site:
        return caching_site

    def test_urls_in_info_json_and_link_have_the_prefix(self, site: Site) -> None:
        document = site.get("/iiif/pictures:a.jpg/info.json").json()
        assert document["id"] == f"{site.url}/iiif/pictures:a.jpg"
        assert f"<{document['id']}/full/300,233" in site.get(SMALL).headers["link"]

    @pytest.mark.parametrize("path", [SMALL, LARGE, "/iiif/pictures:a.jpg/info.json"])
    def test_repeated_request_is_answered_from_the_proxy_cache(self, site: Site, path: str) -> None:
        first = site.get(path)
        again = site.get(path)
        assert again.status_code == 200
        assert again.headers["x-cache"] in {"HIT", "REVALIDATED"}
        assert again.content == first.content
        assert comparable_headers(again) == comparable_headers(first)

    def test_expired_proxy_cache_entry_is_revalidated_by_etag(self, site: Site) -> None:
        path = "/iiif/pictures:a.jpg/full/310,/0/default.jpg"
        first = site.get(path)
        deadline = time.monotonic() + 30
        while f'GET {path} HTTP/1.1" 304' not in site.server.log:
            assert time.monotonic() < deadline, site.server.log
            site.get(path)
            time.sleep(0.1)
        assert site.get(path).content == first.content

    def test_deleted_original_is_404_after_the_proxy_cache_entry_expires(self, site: Site) -> None:
        original = site.folder / "source" / "pictures" / "withdrawn.jpg"
        original.write_bytes(PICTURE)
        paths = [
            "/iiif/pictures:withdrawn.jpg/full/300,/0/default.jpg",
            "/iiif/pictures:withdrawn.jpg/info.json",
        ]
        assert [site.get(path).status_code for path in paths] == [200, 200]
        original.unlink()
        deadline = time.monotonic() + 30
        for path in paths:
            while (status := site.get(path).status_code) == 200:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert status == 404

    def test_if_none_match_is_304_from_the_proxy_cache(self, site: Site) -> None:
        tag = site.get(SMALL).headers["etag"]
        assert site.get(SMALL, If_None_Match=tag).status_code == 304

    def test_proxy_cache_separates_json_and_json_ld(self, site: Site) -> None:
        path = "/iiif/pictures:a.jpg/info.json"
        for _ in range(2):
            assert site.get(path).headers["content-type"] == "application/json"
            linked = site.get(path, Accept="application/ld+json")
            assert linked.headers["content-type"].startswith("application/ld+json")

    def test_encoded_identifiers_pass_nginx_unchanged(self, site: Site) -> None:
        folder = site.folder / "source" / "pictures" / "b c"
        folder.mkdir()
        (folder / "ü%2F.jpg").write_bytes(PICTURE)
        path = "/iiif/pictures:b%20c%2F%C3%BC%252F.jpg/info.json"
        document = site.get(path).json()
        assert document["id"] == f"{site.url}{path.removesuffix('/info.json')}"


class TestAccel(CommonTests):
    @pytest.fixture
    def site(self, accel_site: Site) -> Site:
        return accel_site

    @pytest.mark.parametrize("path", [SMALL, LARGE])
    def test_cached_derivative_is_sent_by_nginx_with_the_servers_headers(
        self, site: Site, path: str
    ) -> None:
        made = site.get(path)
        direct = httpx.get(
            f"{site.server.url}{path}", trust_env=False, headers={"Host": _host(site)}
        )
        sent = site.get(path)
        assert sent.headers["server-timing"].startswith('engine;desc="cache"')
        assert made.content == sent.content == direct.content
        assert "x-accel-redirect" not in sent.headers
        assert len(sent.headers.get_list("x-request-id")) == 1
        assert sent.headers["x-request-id"] != direct.headers["x-request-id"]
        assert comparable_headers(sent) == comparable_headers(direct)
        redirect = httpx.get(
            f"{site.server.url}{path}",
            trust_env=False,
            headers={"Host": _host(site), "X-Accel": "on"},
        )
        assert redirect.headers["x-accel-redirect"].startswith("/_derivatives/")
        assert not redirect.content

    def test_conditional_and_head_requests_are_answered(self, site: Site) -> None:
        first = site.get(SMALL)
        tag, modified = first.headers["etag"], first.headers["last-modified"]
        site.get(SMALL)
        assert site.get(SMALL, If_None_Match=tag).status_code == 304
        assert site.get(SMALL, If_Modified_Since=modified).status_code == 304
        assert site.get(SMALL, If_None_Match='"another"').content == first.content
        head = site.get(SMALL, method="HEAD")
        assert head.status_code == 200
        assert int(head.headers["content-length"]) == len(first.content)

    def test_deleted_or_damaged_cache_file_is_rendered_again(self, site: Site) -> None:
        path = "/iiif/pictures:a.jpg/full/320,/0/default.jpg"
        first = site.get(path)
        assert site.get(path).content == first.content
        for file in site.derivatives():
            file.unlink()
        assert site.get(path).content == first.content
        for file in site.derivatives():
            file.write_bytes(bytes(file.stat().st_size))
        assert site.get(path).content == first.content

    def test_forged_headers_are_ignored_when_nginx_cannot_send_the_file(self, site: Site) -> None:
        for number, name in enumerate(FORGED_HEADERS):
            path = f"/iiif/pictures:a.jpg/full/{400 + number},/0/default.jpg"
            site.get(path)
            for file in site.derivatives():
                file.unlink()
            assert_clean(site, site.get(path, **{name: FORGED_HEADERS[name]}), path)

    @pytest.mark.parametrize("problem", ["refused", "missing", "broken"])
    def test_server_sends_the_image_when_nginx_cannot_send_the_file(
        self, site: Site, problem: str
    ) -> None:
        path = f"/iiif/pictures:a.jpg/full/{450 + len(problem)},/0/gray.jpg"
        first = site.get(path)
        before = set(site.derivatives())
        assert site.get(path).content == first.content
        for file in before:
            file.unlink()
            if problem == "refused":
                file.symlink_to(file.name)  # nginx answers 403
            elif problem == "broken":
                file.mkdir()
        again = site.get(path)
        assert again.status_code == 200
        assert again.content == first.content
        assert "x-accel-redirect" not in again.headers

    def test_cache_files_cannot_be_requested_by_path(self, site: Site) -> None:
        site.get(SMALL)
        below = site.derivatives()[0].relative_to(site.folder / "cache/derivatives/entries")
        assert site.get(f"/_derivatives/{below}").status_code == 404
        assert site.get("/_derivatives/../../settings.toml").status_code in {400, 404}

    def test_x_accel_header_of_a_client_is_ignored(self, site: Site) -> None:
        site.get(SMALL)
        answer = site.get("/iiif/pictures:a.jpg/info.json", X_Accel="on")
        assert answer.json()["id"] == f"{site.url}/iiif/pictures:a.jpg"


def _host(site: Site) -> str:
    return site.url.removeprefix("http://")


def test_urls_of_cantaloupe_are_served(tmp_path: Path) -> None:
    with running_site(tmp_path, "from-cantaloupe.conf") as site:
        for path in ("/iiif/2/pictures:a.jpg", "/iiif/3/pictures:a.jpg"):
            document = site.get(f"{path}/info.json").json()
            assert document.get("id", document.get("@id")) == f"{site.url}{path}"
            assert site.get(f"{path}/full/50,/0/default.jpg").status_code == 200
        first = site.get("/iiif/1/a%2Fb.jpg/info.json")
        assert first.status_code == 301
        assert first.headers["location"].endswith("/iiif/2/a%2Fb.jpg/info.json")


def test_configuration_of_the_downloads_page_sends_originals_by_nginx(tmp_path: Path) -> None:
    page = (DEPLOY.parents[1] / "docs" / "downloads.md").read_text()
    (printed,) = re.findall(
        r"^      location /_originals/ \{$.*?^      \}$", page, re.MULTILINE | re.DOTALL
    )
    locations = printed.replace("/var/lib/iiif-server/source/", f"{tmp_path}/source/") + "\n"
    assert locations != f"{printed}\n"
    settings = (
        'delivery.accel_redirect = "/_derivatives"\ndelivery.accel_originals = "/_originals"\n'
    )
    with running_site(tmp_path, "iiif-server-accel.conf", settings, locations) as site:
        path = "/iiif/pictures:a.jpg/original"
        varying = httpx.get(f"{site.server.url}{path}", trust_env=False)
        named = httpx.get(f"{site.server.url}{path}", trust_env=False, headers={"X-Accel": "on"})
        assert named.headers["x-accel-redirect"] == "/_originals/pictures/a.jpg"
        answer = site.get(path)
        assert (answer.status_code, answer.content) == (200, PICTURE)
        for name in ("etag", "last-modified", "content-disposition", "content-type"):
            assert answer.headers[name] == varying.headers[name]
        part = site.get(path, Range="bytes=2-5")
        assert (part.status_code, part.content) == (206, PICTURE[2:6])
        assert site.get(path, If_None_Match=answer.headers["etag"]).status_code == 304
        assert site.get(path, "HEAD").headers["content-length"] == str(len(PICTURE))
        assert site.get("/_originals/pictures/a.jpg").status_code == 404
