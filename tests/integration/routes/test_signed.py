"""Types whose images need a signed URL."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from iiif_server.errors import SignatureRefusedError
from iiif_server.iiif.identifier import parse_identifier
from iiif_server.server.signing import ExactRequest
from support.apps import (
    Server,
    assert_problem,
    decode_image,
    picture,
    running_app,
    settings_below,
    stable_headers,
)
from support.hostile import tiff_chain

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "a-key-of-these-tests-with-enough-letters"
WORDS = str(SignatureRefusedError())
PREFIXES = ["", "/iiif/3", "/iiif/2"]
TYPES = {
    "public": {"source": "disk", "cache_for": 1000},
    "closed": {"source": "disk", "access": "signed", "cache_for": 1000},
    "web": {"source": "web", "access": "signed", "url": "https://upstream.invalid/{name}"},
}


def serving(root: Any, **settings: Any) -> Any:
    return running_app(settings_below(root, types=TYPES, signing={"keys": [KEY]}, **settings))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with serving(tmp_path_factory.mktemp("signed")) as server:
        for type_ in ("public", "closed"):
            server.put(type_, "pic.jpg", picture())
            server.put(type_, "a/b 1.jpg", picture())
            server.put(type_, "a/b/c/d.jpg", picture())
        server.put("closed", "other.jpg", picture())
        yield server


def signature(
    server: Server, written: str, seconds: int = 60, exact: ExactRequest | None = None
) -> str:
    """`signed/EXPIRES.CODE` for an identifier."""
    assert server.services.signatures is not None
    expires = int(time.time()) + seconds
    return server.services.signatures.sign(parse_identifier(written), expires, exact)


async def test_a_signature_is_for_one_page(server: Server) -> None:
    """`name;2` may be a file of its own, of which the signature of `name` says nothing."""
    server.put("closed", "book.tif", tiff_chain(3))
    for written in ("closed:book.tif", "closed:book.tif;2"):
        start = signature(server, written)
        for other in ("closed:book.tif", "closed:book.tif;1", "closed:book.tif;2"):
            answer = await server.get(f"/{start}/{other}/info.json")
            assert answer.status_code == (200 if other == written else 403), (written, other)
        assert 'rel="next"' not in (await server.get(f"/{start}/{written}/view")).text
        manifest = (await server.get(f"/{start}/{written}/manifest.json")).json()
        assert len(manifest["items"]) == 1


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    "written",
    ["closed:pic.jpg", "closed:a/b%201.jpg", "closed:a%2Fb%201.jpg", "closed:a%2Fb/c/d.jpg"],
)
async def test_a_viewer_that_is_given_one_signed_address_gets_the_whole_image(
    server: Server, prefix: str, written: str
) -> None:
    start = f"{prefix}/{signature(server, written)}/{written}"
    redirect = await server.get_raw(start.encode())
    assert redirect.status_code == 303
    assert redirect.headers["location"] == f"http://test{start}/info.json"
    document = (await server.get_raw(f"{start}/info.json".encode())).json()
    id_ = document["@id" if prefix == "/iiif/2" else "id"]
    assert id_ == f"http://test{start}"
    path = id_.removeprefix("http://test")
    for tile in ("0,0,100,100/50,/0/default.jpg", "full/100,/90/gray.png"):
        image = await server.get_raw(f"{path}/{tile}".encode())
        decode_image(image)
        assert f"<{id_}/" in image.headers["link"]
        assert image.headers["access-control-allow-origin"] == "*"
        tag = [(b"host", b"test"), (b"if-none-match", image.headers["etag"].encode())]
        unchanged = await server.get_raw(f"{path}/{tile}".encode(), tag)
        assert unchanged.status_code == 304
        assert unchanged.headers["cache-control"].startswith("private")
    head = await server.get_raw(f"{path}/info.json".encode(), method="HEAD")
    assert (head.status_code, head.content) == (200, b"")


async def test_the_information_of_the_other_version_is_signed_as_well(server: Server) -> None:
    start = f"{signature(server, 'closed:pic.jpg')}/closed:pic.jpg"
    accept = 'application/ld+json;profile="http://iiif.io/api/image/2/context.json"'
    document = (await server.get(f"/{start}/info.json", Accept=accept)).json()
    assert document["@id"] == f"http://test/iiif/2/{start}"
    decode_image(await server.get(f"/iiif/2/{start}/full/full/0/default.jpg"))


@pytest.mark.parametrize("rest", ["/info.json", "/full/50,/0/default.jpg"])
@pytest.mark.parametrize("typo", ["Closed:pic.jpg", "publik:pic.jpg", "nothing:pic.jpg", "a/b:c"])
async def test_a_mistyped_type_is_not_blamed_on_signatures(
    server: Server, typo: str, rest: str
) -> None:
    assert_problem(await server.get(f"/{typo}{rest}"), 404, "type")


@pytest.mark.parametrize("rest", ["", "/info.json", "/full/50,/0/default.jpg"])
@pytest.mark.parametrize("prefix", PREFIXES)
async def test_without_a_valid_signature_nothing_can_be_told_from_nothing(
    server: Server, prefix: str, rest: str
) -> None:
    good = signature(server, "closed:pic.jpg")
    expired = signature(server, "closed:pic.jpg", seconds=-1)
    signed, _, code = good.partition("/")
    answers = []
    for start in (
        "closed:pic.jpg",
        "closed:missing.jpg",
        "closed:..%2F..%2Fetc%2Fpasswd",
        "web:pic.jpg",
        f"{expired}/closed:pic.jpg",
        f"{expired}/closed:missing.jpg",
        f"{good}/closed:other.jpg",
        f"{good}/closed:missing.jpg",
        f"{good}/closed:pic.jpg%2F..%2Fother.jpg",
        f"{good}//closed:pic.jpg",
        f"{good}/closed:PIC.jpg",
        f"{good}/Closed:pic.jpg",
        f"{good}/public:pic.jpg",
        f"{good}/nothing:pic.jpg",
        f"{good}A/closed:pic.jpg",
        f"{good[:-1]}/closed:pic.jpg",
        f"{signed}/closed:pic.jpg",
        f"{signed}//closed:pic.jpg",
        f"{signed}/x/closed:pic.jpg",
        f"{signed}/{code}/{code}/closed:pic.jpg",
        f"{good.replace('.', '%2E')}/closed:pic.jpg",
        f"%73igned/{code}/closed:pic.jpg",
        f"signed%2F{code}/closed:pic.jpg",
        f"SIGNED/{code}/closed:pic.jpg",
        f"/{good}/closed:pic.jpg",
        f"closed:pic.jpg/{good}",
        f"{signed}/x/public:pic.jpg",
        f"{expired}/public:pic.jpg",
    ):
        response = await server.get_raw(f"{prefix}/{start}{rest}".encode())
        assert_problem(response, 403)
        assert response.json()["error"] == WORDS, start
        answers.append((response.text, stable_headers(response.headers)))
    assert all(answer == answers[0] for answer in answers)


async def test_what_is_refused_is_refused_before_anything_is_looked_for(server: Server) -> None:
    """Also for a type that would have to fetch its original first."""
    before = (len(server.services.images), server.services.header_pool.stats.done)
    for path in ("closed:new.jpg/info.json", "web:new.jpg/full/50,/0/default.jpg"):
        assert_problem(await server.get(f"/{path}"), 403)
    assert (len(server.services.images), server.services.header_pool.stats.done) == before
    assert not server.original_path("web", "new.jpg").exists()
    assert server.events == [] or "new.jpg" not in repr(server.events)


async def test_with_a_valid_signature_what_is_missing_is_said_to_be(server: Server) -> None:
    start = f"{signature(server, 'closed:missing.jpg')}/closed:missing.jpg"
    assert_problem(await server.get(f"/{start}/info.json"), 404)
    start = f"{signature(server, 'nothing:pic.jpg')}/nothing:pic.jpg"
    assert_problem(await server.get(f"/{start}/info.json"), 404)


async def test_clients_keep_what_they_get_no_longer_than_they_may_see_it(server: Server) -> None:
    for seconds, longest in ((60, 60), (100_000, 1000)):
        start = f"/{signature(server, 'closed:pic.jpg', seconds)}/closed:pic.jpg"
        for rest in ("", "/info.json", "/full/50,/0/default.jpg"):
            response = await server.get(start + rest)
            private, _, age = response.headers["cache-control"].partition(", max-age=")
            assert private == "private"
            assert longest - 30 <= int(age) <= longest


async def test_public_types_are_as_they_were(server: Server) -> None:
    response = await server.get("/public:pic.jpg/full/50,/0/default.jpg")
    assert response.headers["cache-control"] == "max-age=1000"
    assert (await server.get("/public:pic.jpg")).status_code == 303
    assert_problem(await server.get("/public:missing.jpg/info.json"), 404)
    assert_problem(await server.get("/pic.jpg/info.json"), 404)


async def test_a_public_image_may_be_signed_too(server: Server) -> None:
    start = f"/{signature(server, 'public:pic.jpg')}/public:pic.jpg"
    response = await server.get(f"{start}/full/50,/0/default.jpg")
    decode_image(response)
    assert response.headers["cache-control"].startswith("private")


class TestExactRequest:
    """Signatures for one request."""

    @pytest.mark.parametrize(
        ("version", "prefix", "parameters"),
        [
            ("3.0", "", "full/!100,100/0/default.jpg"),
            ("3.0", "/iiif/3", "0,0,50,50/max/!0/gray.png"),
            ("2.1", "/iiif/2", "full/!100,100/0/default.jpg"),
        ],
    )
    async def test_that_one_is_answered_and_no_other(
        self, server: Server, version: str, prefix: str, parameters: str
    ) -> None:
        exact = ExactRequest(version, parameters)
        start = f"{prefix}/{signature(server, 'closed:pic.jpg', exact=exact)}/closed:pic.jpg"
        response = await server.get(f"{start}/{parameters}")
        decode_image(response)
        assert response.headers["cache-control"].startswith("private")
        escaped = parameters.replace(",", "%2C").replace("!", "%21")
        decode_image(await server.get_raw(f"{start}/{escaped}".encode()))
        for other in (
            "/full/max/0/default.jpg",
            "/full/!101,100/0/default.jpg",
            f"/{parameters.replace('.', '.').rpartition('/')[0]}/bitonal.png",
            "/info.json",
            "",
        ):
            response = await server.get(start + other)
            assert_problem(response, 403)
            assert response.json()["error"] == WORDS
        other_version = start.replace(prefix, "/iiif/3" if version == "2.1" else "/iiif/2", 1)
        if prefix:
            assert_problem(await server.get(f"{other_version}/{parameters}"), 403)

    async def test_it_is_not_redirected_to_where_its_signature_does_not_hold(
        self, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        async with serving(tmp_path_factory.mktemp("canonical"), canonical_redirect=True) as server:
            server.put("closed", "pic.jpg", picture())
            parameters = "full/!100,100/0/color.jpg"
            exact = ExactRequest("3.0", parameters)
            one = f"/{signature(server, 'closed:pic.jpg', exact=exact)}/closed:pic.jpg"
            assert decode_image(await server.get(f"{one}/{parameters}")).size == (100, 75)
            whole = f"/{signature(server, 'closed:pic.jpg')}/closed:pic.jpg"
            redirect = await server.get(f"{whole}/{parameters}")
            assert redirect.status_code == 303
            target = redirect.headers["location"].removeprefix("http://test")
            assert target == f"{whole}/full/100,75/0/default.jpg"
            decode_image(await server.get(target))


async def test_nothing_public_tells_which_types_there_are(server: Server) -> None:
    for path in ("/status", "/health", "/openapi.json", "/docs", "/closed:x/info.json"):
        text = (await server.get(path)).text
        for type_ in TYPES:
            assert f'"{type_}"' not in text
        assert "closed" not in text
    # The gallery tells of those that everyone may see, and of no others.
    front = (await server.get("/")).text
    assert "public" in front
    assert "closed" not in front
    assert "web:" not in front
    assert "=web" not in front
    assert (await server.status())["types"]["closed"] == "disk"


async def test_signed_addresses_stand_in_no_event(server: Server) -> None:
    start = f"/{signature(server, 'closed:pic.jpg')}/closed:pic.jpg"
    decode_image(await server.get(f"{start}/full/77,/0/default.jpg"))
    assert server.events
    assert "signed/" not in repr(server.events)


async def test_a_server_without_keys_has_no_signed_addresses(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    settings = settings_below(
        tmp_path_factory.mktemp("keyless"), types={"disk": {"source": "disk"}}, default_type="disk"
    )
    async with running_app(settings) as server:
        server.put("disk", "signed/1.a/pic.jpg", picture())
        assert (await server.get("/signed/1.a/pic.jpg/info.json")).status_code == 200
        assert_problem(await server.get("/nothing:pic.jpg/info.json"), 404)
