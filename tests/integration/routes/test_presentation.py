"""Manifests of images and collections of folders, as viewers ask for them."""

import asyncio
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from iiif_server.errors import SignatureRefusedError
from iiif_server.iiif.identifier import Identifier
from iiif_server.server.signing import ExactRequest
from support.apps import (
    LOOPBACK,
    Server,
    assert_problem,
    decode_image,
    picture,
    running_app,
    settings_below,
)
from support.presentation import TYPE, parse_with_prezi

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "a-key-of-these-tests-with-enough-letters"
TYPES: dict[str, Any] = {
    "disk": {
        "source": "disk",
        "cache_for": 1000,
        "rights": "https://creativecommons.org/licenses/by/4.0/",
        "info": {"attribution": "The Museum"},
    },
    "other": {"source": "disk", "cache_for": 500},
    "closed": {"source": "disk", "access": "signed", "cache_for": 1000},
    "web": {"source": "web", "url": "https://upstream.invalid/{name}"},
    "elsewhere": {"source": "trusted_web", "regex": "https://upstream.invalid/.+"},
}


def serving(root: Any, **settings: Any) -> Any:
    chosen: dict[str, Any] = {
        "types": TYPES,
        "signing": {"keys": [KEY]},
        "presentation": {"max_images": 4, "page_size": 3},
        "pages": {"title": "The Collection"},
        "cache": {"memory_bytes": 10_000_000},
    }
    return running_app(settings_below(root, trusted_proxies=LOOPBACK, **(chosen | settings)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with serving(tmp_path_factory.mktemp("presentation")) as server:
        server.put("disk", "large.jpg", picture(1200, 900))
        server.put("disk", "birds/über uns, 100%.jpg", picture(300, 200))
        server.put("disk", "birds/second.png", picture(format_="PNG"))
        server.put("disk", "birds/notes.txt", b"no image")
        for number in range(7):
            server.put("disk", f"many/{number}.jpg", picture())
        (server.settings.source_path / "disk/many/below").mkdir()
        server.put("disk", "damaged.jpg", b"\xff\xd8\xff\xe0 no more")
        server.put("other", "pic.jpg", picture())
        server.put("closed", "pic.jpg", picture())
        yield server


async def document(server: Server, path: str, **headers: str) -> Any:
    """What is at an address, which has to be well formed."""
    response = await server.get(path, **headers)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == TYPE
    assert response.headers["access-control-allow-origin"] == "*"
    content = response.json()
    parse_with_prezi(content)
    return content


def images(content: Any) -> list[Any]:
    """The bodies of a manifest's canvases."""
    return [canvas["items"][0]["items"][0]["body"] for canvas in content["items"]]


def signed(server: Server, name: str, seconds: int = 60, exact: ExactRequest | None = None) -> str:
    """The signed path of a closed image."""
    assert server.services.signatures is not None
    identifier = Identifier("closed", name)
    signature = server.services.signatures.sign(identifier, int(time.time()) + seconds, exact)
    return f"{signature}/{identifier.encoded}"


class TestOneImage:
    async def test_the_manifest_leads_to_the_image_and_its_services(self, server: Server) -> None:
        content = await document(server, "/disk:large.jpg/manifest.json")
        assert content["id"] == "http://test/disk:large.jpg/manifest.json"
        assert content["label"] == {"none": ["large.jpg"]}
        (body,) = images(content)
        assert decode_image(await server.get(body["id"])).size == (body["width"], body["height"])
        three, two = body["service"]
        information = (await server.get(f"{three['id']}/info.json")).json()
        assert (information["id"], information["type"]) == (three["id"], three["type"])
        assert information["profile"] == three["profile"]
        information = (await server.get(f"{two['@id']}/info.json")).json()
        assert information["@id"] == two["@id"]
        assert information["profile"][0] == two["profile"]

    async def test_the_thumbnail_is_one_of_the_sizes_offered(self, server: Server) -> None:
        (thumbnail,) = (await document(server, "/disk:large.jpg/manifest.json"))["thumbnail"]
        size = {"width": thumbnail["width"], "height": thumbnail["height"]}
        assert size in (await server.get("/disk:large.jpg/info.json")).json()["sizes"]
        assert decode_image(await server.get(thumbnail["id"])).size == tuple(size.values())

    async def test_rights_are_those_of_the_type(self, server: Server) -> None:
        content = await document(server, "/disk:large.jpg/manifest.json")
        assert content["rights"] == "http://creativecommons.org/licenses/by/4.0/"
        assert content["requiredStatement"]["value"] == {"none": ["The Museum"]}
        assert "rights" not in await document(server, "/other:pic.jpg/manifest.json")

    async def test_an_image_whose_name_is_a_url_is_called_by_the_end_of_that(
        self, server: Server
    ) -> None:
        for url, page, label in (
            (b"https://upstream.invalid/a/two%20words.jpg?size=large", "", "two words.jpg"),
            (b"https://upstream.invalid/a/two%20words.jpg?size=large", ";1", "two words.jpg;1"),
            (b"https://upstream.invalid/?picture=1", "", "upstream.invalid"),
        ):
            name = urlsafe_b64encode(url).decode()
            server.put("elsewhere", name, picture())
            content = await document(server, f"/elsewhere:{name}{page}/manifest.json")
            assert content["label"] == {"none": [label]}

    @pytest.mark.parametrize("prefix", ["", "/iiif/3"])
    @pytest.mark.parametrize("slash", ["/", "%2F"])
    async def test_addresses_are_as_the_client_wrote_them(
        self, server: Server, prefix: str, slash: str
    ) -> None:
        written = f"disk:birds{slash}%C3%BCber%20uns%2C%20100%25.jpg"
        response = await server.get_raw(f"{prefix}/{written}/manifest.json".encode())
        content = response.json()
        parse_with_prezi(content)
        assert content["id"] == f"http://test{prefix}/{written}/manifest.json"
        assert content["label"] == {"none": ["über uns, 100%.jpg"]}
        (body,) = images(content)
        assert body["service"][0]["id"] == f"http://test{prefix}/{written}"
        assert body["service"][1]["@id"] == f"http://test/iiif/2/{written}"
        decode_image(await server.get_raw(body["id"].removeprefix("http://test").encode()))

    async def test_below_the_older_version_the_manifest_is_the_same(self, server: Server) -> None:
        below = await document(server, "/iiif/2/disk:large.jpg/manifest.json")
        assert below == await document(server, "/iiif/3/disk:large.jpg/manifest.json")

    async def test_nothing_is_decoded(self, server: Server) -> None:
        before = server.services.image_pool.stats.done
        await document(server, "/disk:many/3.jpg/manifest.json")
        assert server.services.image_pool.stats.done == before

    async def test_a_client_that_has_it_is_told_so(self, server: Server) -> None:
        path = "/disk:large.jpg/manifest.json"
        response = await server.get(path)
        assert response.headers["cache-control"] == "max-age=1000"
        for _ in range(2):  # from the route, and from memory
            again = await server.get(path, If_None_Match=response.headers["etag"])
            assert (again.status_code, again.content) == (304, b"")
        since = await server.get(path, If_Modified_Since=response.headers["last-modified"])
        assert since.status_code == 304
        head = await server.client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == TYPE

    async def test_a_replaced_image_has_another_manifest(self, server: Server) -> None:
        server.put("other", "replaced.jpg", picture(200, 100))
        before = await document(server, "/other:replaced.jpg/manifest.json")
        await document(server, "/other:replaced.jpg/manifest.json")
        server.put("other", "replaced.jpg", picture(100, 200))
        await asyncio.sleep(1.1)  # a replaced original is noticed within a second
        after = await document(server, "/other:replaced.jpg/manifest.json")
        assert [before["items"][0]["width"], after["items"][0]["width"]] == [200, 100]

    @pytest.mark.parametrize(
        ("path", "code"),
        [
            ("/disk:missing.jpg/manifest.json", 404),
            ("/nothing:pic.jpg/manifest.json", 404),  # names of types are not secret
            ("/disk:damaged.jpg/manifest.json", 422),
            ("/disk:birds/notes.txt/manifest.json", 415),
            ("/disk:%zz/manifest.json", 400),
        ],
    )
    async def test_what_has_no_manifest(self, server: Server, path: str, code: int) -> None:
        assert_problem(await server.get_raw(path.encode()), code)

    async def test_a_name_may_end_like_one_where_its_slash_is_encoded(self, server: Server) -> None:
        server.put("other", "manifest.json", picture())
        server.put("other", "a/manifest.json", picture())
        server.put("other", "a/collection.json", picture())
        for name in ("manifest.json", "a/manifest.json", "a/collection.json"):
            path = f"/other:{quote(name, safe='')}"
            redirect = await server.get_raw(path.encode())
            assert redirect.headers["location"] == f"http://test{path}/info.json"
            response = await server.get_raw(f"{path}/manifest.json".encode())
            parse_with_prezi(response.json())

    async def test_behind_a_proxy_addresses_are_the_public_ones(self, server: Server) -> None:
        headers = {
            "X_Forwarded_Proto": "https",
            "X_Forwarded_Host": "museum.example.org",
            "X_Forwarded_Prefix": "/images",
        }
        content = await document(server, "/disk:large.jpg/manifest.json", **headers)
        public = "https://museum.example.org/images"
        assert content["id"] == f"{public}/disk:large.jpg/manifest.json"
        assert images(content)[0]["service"][0]["id"] == f"{public}/disk:large.jpg"
        assert images(content)[0]["service"][1]["@id"] == f"{public}/iiif/2/disk:large.jpg"
        listed = await document(server, "/disk/collection.json", **headers)
        assert all(item["id"].startswith(f"{public}/disk") for item in listed["items"])

    async def test_below_a_root_path_addresses_have_it(
        self, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        async with serving(tmp_path_factory.mktemp("rooted"), root_path="/images") as server:
            server.put("disk", "a/b.jpg", picture())
            for path in (
                "/images/disk:a%2Fb.jpg/manifest.json",
                "/images/iiif/3/disk:a%2Fb.jpg/manifest.json",
                "/images/disk:a/collection.json",
                "/images/collection.json",
            ):
                response = await server.get_raw(path.encode())
                assert response.json()["id"] == f"http://test{path}"

    async def test_with_a_base_url_addresses_begin_with_it(
        self, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        base = "https://museum.example.org/iiif"
        async with serving(tmp_path_factory.mktemp("based"), base_url=f"{base}/") as server:
            server.put("disk", "a.jpg", picture())
            content = await document(server, "/disk:a.jpg/manifest.json")
            assert content["id"] == f"{base}/disk:a.jpg/manifest.json"
            several = await document(server, "/manifest.json?identifiers=disk:a.jpg")
            assert several["id"] == f"{base}/manifest.json?identifiers=disk:a.jpg"
            listed = await document(server, "/disk/collection.json")
            assert listed["items"][0]["id"] == content["id"]


class TestSignedTypes:
    async def test_a_signed_address_gives_a_manifest_with_signed_services(
        self, server: Server
    ) -> None:
        start = signed(server, "pic.jpg")
        response = await server.get(f"/{start}/manifest.json")
        content = response.json()
        parse_with_prezi(content)
        assert response.headers["cache-control"].startswith("private, max-age=")
        (body,) = images(content)
        assert body["service"][0]["id"] == f"http://test/{start}"
        assert body["service"][1]["@id"] == f"http://test/iiif/2/{start}"
        decode_image(await server.get(body["id"]))
        decode_image(await server.get(content["thumbnail"][0]["id"]))
        decode_image(await server.get(f"{body['service'][1]['@id']}/full/50,/0/default.jpg"))

    async def test_an_unsigned_address_is_refused_in_the_same_words(self, server: Server) -> None:
        exact = signed(server, "pic.jpg", exact=ExactRequest("3.0", "full/50,/0/default.jpg"))
        for start in (
            "closed:pic.jpg",
            "closed:missing.jpg",
            signed(server, "pic.jpg", seconds=-1),
            signed(server, "other.jpg").replace("other.jpg", "pic.jpg"),
            exact,
        ):
            response = await server.get(f"/{start}/manifest.json")
            assert assert_problem(response, 403) == str(SignatureRefusedError())

    async def test_several_of_which_one_is_signed(self, server: Server) -> None:
        start = signed(server, "pic.jpg", seconds=60)
        path = f"/manifest.json?identifiers=disk:large.jpg,{start}"
        response = await server.get(path)
        content = response.json()
        parse_with_prezi(content)
        assert images(content)[1]["service"][0]["id"] == f"http://test/{start}"
        private, _, seconds = response.headers["cache-control"].partition(", max-age=")
        assert (private, int(seconds) <= 60) == ("private", True)
        late = signed(server, "pic.jpg", seconds=-1)
        said = assert_problem(
            await server.get(f"/manifest.json?identifiers=disk:large.jpg,{late}"), 403
        )
        assert said == f'About "closed:pic.jpg": {SignatureRefusedError()}'
        assert "signed/" not in said


class TestSeveralImages:
    async def test_they_stand_in_the_order_given_and_each_once(self, server: Server) -> None:
        path = "/manifest.json?identifiers=other:pic.jpg,disk:many/2.jpg,disk:many%2F1.jpg,"
        content = await document(server, f"{path}other%3Apic.jpg,disk:many/2.jpg")
        assert [canvas["label"]["none"][0] for canvas in content["items"]] == [
            "pic.jpg",
            "2.jpg",
            "1.jpg",
        ]
        assert content["label"] == {"none": ["3 images"]}
        again = await document(server, content["id"].removeprefix("http://test"))
        assert again == content

    async def test_they_may_be_named_one_parameter_each(self, server: Server) -> None:
        one = await document(server, "/manifest.json?identifiers=other:pic.jpg,disk:large.jpg")
        two = "/manifest.json?identifiers=other:pic.jpg&identifiers=disk:large.jpg"
        assert await document(server, two) == one

    async def test_a_name_with_a_comma_is_written_as_in_a_path(self, server: Server) -> None:
        written = "disk:birds/%C3%BCber%20uns%2C%20100%25.jpg"
        encoded = quote(written, safe="")
        path = f"/manifest.json?identifiers={encoded},other:pic.jpg"
        content = await document(server, path)
        assert images(content)[0]["service"][0]["id"] == f"http://test/{written}"
        assert await document(server, content["id"].removeprefix("http://test")) == content

    async def test_one_that_cannot_be_shown_is_named(self, server: Server) -> None:
        ask = "/manifest.json?identifiers=disk:large.jpg"
        for written, code, name in (
            ("disk:missing.jpg,disk:gone.jpg", 404, "disk:missing.jpg"),
            ("disk:damaged.jpg,disk:gone.jpg", 422, "disk:damaged.jpg"),
            ("disk:%25zz", 400, "disk:%zz"),
            ("", 400, ""),
        ):
            said = assert_problem(await server.get(f"{ask},{written}"), code)
            assert said.startswith(f'About "{name}": ')

    async def test_too_many_are_refused_before_any_is_looked_for(self, server: Server) -> None:
        before = server.services.header_pool.stats.done
        names = ",".join(f"other:new{number}.jpg" for number in range(5))
        said = assert_problem(await server.get(f"/manifest.json?identifiers={names}"), 400)
        assert said == "A manifest has at most 4 images on this server; this one would have 5."
        assert server.services.header_pool.stats.done == before

    async def test_clients_keep_it_as_long_as_each_image(self, server: Server) -> None:
        path = "/manifest.json?identifiers=disk:large.jpg,other:pic.jpg"
        response = await server.get(path)
        assert response.headers["cache-control"] == "max-age=500"
        again = await server.get(path, If_None_Match=response.headers["etag"])
        assert again.status_code == 304

    async def test_every_cache_setting_of_a_type_holds_for_its_manifests(
        self, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        closed = {"source": "disk", "access": "signed"}
        types = {
            "plain": {"source": "disk", "cache_for": 50},
            "none": {"source": "disk", "cache_for": 0},
            "fixed": {"source": "disk", "immutable": True, "cache_for": 1000},
            "brief": {"source": "disk", "immutable": True, "cache_for": 10},
            "closed": closed | {"immutable": True, "cache_for": 5},
        }
        async with serving(tmp_path_factory.mktemp("cached"), types=types) as server:
            for name in types:
                server.put(name, "pic.jpg", picture())
            secret = signed(server, "pic.jpg")
            for wanted, written in {
                "max-age=50": "plain:pic.jpg",
                "max-age=0": "none:pic.jpg",
                "max-age=1000, immutable": "fixed:pic.jpg",
                "private, max-age=5": secret,
            }.items():
                for document_ in ("manifest.json", "info.json"):
                    response = await server.get(f"/{written}/{document_}")
                    assert response.status_code == 200, response.text
                    assert response.headers["cache-control"] == wanted
            for wanted, together in {
                "max-age=50": "plain:pic.jpg,fixed:pic.jpg",
                "max-age=10, immutable": "fixed:pic.jpg,brief:pic.jpg",
                "max-age=0": "brief:pic.jpg,none:pic.jpg",
                "private, max-age=5": f"{secret},fixed:pic.jpg",
                "private, max-age=0": f"{secret},none:pic.jpg",
            }.items():
                response = await server.get(f"/manifest.json?identifiers={together}")
                assert response.status_code == 200, response.text
                assert response.headers["cache-control"] == wanted

    async def test_without_identifiers_the_address_says_what_it_needs(self, server: Server) -> None:
        assert_problem(await server.get("/manifest.json"), 400, "identifiers")


class TestCollections:
    async def test_the_first_one_has_the_types_that_everyone_may_look_through(
        self, server: Server
    ) -> None:
        content = await document(server, "/collection.json")
        assert content["label"] == {"none": ["The Collection"]}
        assert [item["id"] for item in content["items"]] == [
            "http://test/disk/collection.json",
            "http://test/other/collection.json",
        ]

    async def test_from_there_everything_is_found(self, server: Server) -> None:
        found, front = set(), ["/collection.json"]
        while front:
            content = await document(server, front.pop())
            for item in content["items"]:
                path = item["id"].removeprefix("http://test")
                if item["type"] == "Collection":
                    front.append(path)
                else:
                    found.add(path)
        assert {path for path in found if path.startswith("/disk:birds")} == {
            "/disk:birds%2F%C3%BCber%20uns%2C%20100%25.jpg/manifest.json",
            "/disk:birds%2Fsecond.png/manifest.json",
        }
        assert len([path for path in found if path.startswith("/disk:many")]) == 7
        for path in found - {"/disk:damaged.jpg/manifest.json"}:
            response = await server.get_raw(path.encode())
            assert response.json()["id"] == f"http://test{path}"

    async def test_a_folder_names_the_one_above_it(self, server: Server) -> None:
        birds = await document(server, "/disk:birds/collection.json")
        (above,) = birds["partOf"]
        assert above["id"] == "http://test/disk/collection.json"
        (top,) = (await document(server, "/disk/collection.json"))["partOf"]
        assert top["id"] == "http://test/collection.json"

    async def test_a_large_folder_is_divided_into_parts(self, server: Server) -> None:
        content = await document(server, "/disk:many/collection.json")
        assert [item["label"]["none"][0] for item in content["items"]] == [
            "many: 1 to 3 of 8",
            "many: 4 to 6 of 8",
            "many: 7 to 8 of 8",
        ]
        seen = []
        for item in content["items"]:
            part = await document(server, item["id"].removeprefix("http://test"))
            assert part["id"] == item["id"]
            assert part["partOf"][0]["id"] == content["id"]
            seen += [inner["label"]["none"][0] for inner in part["items"]]
        assert seen == ["below", *(f"{number}.jpg" for number in range(7))]

    async def test_clients_keep_it_for_a_moment(self, server: Server) -> None:
        response = await server.get("/disk/collection.json")
        assert response.headers["cache-control"] == "max-age=60"
        again = await server.get("/disk/collection.json", If_None_Match=response.headers["etag"])
        assert (again.status_code, again.content) == (304, b"")

    @pytest.mark.parametrize(
        "path",
        [
            "/disk:missing/collection.json",
            "/disk:large.jpg/collection.json",
            "/disk:..%2Fclosed/collection.json",
            "/disk:many/collection.json?page=4",
            "/closed/collection.json",
            "/web/collection.json",
            "/nothing/collection.json",
            "/collection.json/collection.json",
        ],
    )
    async def test_what_is_no_open_folder_is_not_found(self, server: Server, path: str) -> None:
        assert_problem(await server.get_raw(path.encode()), 404)

    @pytest.mark.parametrize("page", ["0", "-1", "x", "99999999999999"])
    async def test_parts_are_counted_from_one(self, server: Server, page: str) -> None:
        assert_problem(await server.get(f"/disk/collection.json?page={page}"), 400, "page")

    async def test_without_a_gallery_there_are_none(
        self, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        async with serving(tmp_path_factory.mktemp("shut"), pages={"gallery": False}) as server:
            server.put("disk", "a.jpg", picture())
            for path in ("/collection.json", "/disk/collection.json"):
                assert_problem(await server.get(path), 404)
            await document(server, "/disk:a.jpg/manifest.json")


async def test_openapi_tells_of_them(server: Server) -> None:
    paths = (await server.get("/openapi.json")).json()["paths"]
    for path in (
        "/{identifier}/manifest.json",
        "/manifest.json",
        "/collection.json",
        "/{place}/collection.json",
    ):
        content = paths[path]["get"]["responses"]["200"]["content"]
        assert list(content) == ["application/ld+json"]
        assert paths[path]["get"]["tags"] == ["Presentation"]
