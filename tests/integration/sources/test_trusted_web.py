"""Source `trusted_web`: names that are URLs in base 64 and match a regular expression."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import pytest_asyncio

from iiif_server.settings import load_settings
from support.apps import (
    Server,
    assert_problem,
    base64_identifier,
    fetch_options,
    picture,
    running_app,
    settings_below,
)
from support.upstream import Upstream, delayed, redirect, running_upstream, send, status

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURE = picture()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        upstream.otherwise = send(PICTURE)
        yield upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    settings = settings_below(
        tmp_path_factory.mktemp("trusted"),
        fetch=fetch_options(),
        types={
            # As people write them: dots are not escaped, and no end is marked.
            "trusted": {"source": "trusted_web", "regex": f"{upstream.base}/open/[^?]+"},
            "jpegs": {"source": "trusted_web", "regex": rf"{upstream.base}/open/\w+\.jpg"},
            "any": {"source": "trusted_web", "regex": ".*"},
        },
    )
    async with running_app(settings) as server:
        yield server


async def test_an_original_is_fetched_once_and_kept_under_its_encoded_name(
    server: Server, upstream: Upstream
) -> None:
    name = base64_identifier(f"{upstream.base}/open/banana")
    for _ in range(2):
        assert (await server.get(f"/trusted:{name}/info.json")).status_code == 200
        response = await server.get(f"/trusted:{name}/full/50,/0/default.jpg")
        assert response.status_code == 200
    assert upstream.count("/open/banana") == 1
    assert server.original_path("trusted", name).read_bytes() == PICTURE


@pytest.mark.parametrize("path", ["/open/1", "/open/12", "/open/123"])
async def test_padded_and_unpadded_names_are_one_original(
    server: Server, upstream: Upstream, path: str
) -> None:
    name = base64_identifier(upstream.base + path)
    spellings = [name.rstrip("="), name, name.replace("=", "%3D")]
    responses = await asyncio.gather(
        *(server.get(f"/trusted:{spelling}/info.json") for spelling in spellings)
    )
    assert [response.status_code for response in responses] == [200, 200, 200]
    assert upstream.count(path) == 1
    kept = [item.name for item in server.original_path("trusted", "").iterdir()]
    assert [item for item in kept if item.rstrip("=") == name.rstrip("=")] == [name]


async def test_the_id_keeps_the_spelling_of_the_request(server: Server, upstream: Upstream) -> None:
    name = base64_identifier(f"{upstream.base}/open/12")
    for spelling in (name, name.rstrip("=")):
        information = (await server.get(f"/trusted:{spelling}/info.json")).json()
        assert information["id"] == f"http://test/trusted:{spelling}"


async def test_a_long_url_is_kept_under_a_digest(server: Server, upstream: Upstream) -> None:
    path = f"/open/{'long' * 100}"
    name = base64_identifier(upstream.base + path)
    for _ in range(2):
        assert (await server.get(f"/trusted:{name}/info.json")).status_code == 200
    assert upstream.count(path) == 1
    digest = sha256(name.encode()).hexdigest()
    assert server.original_path("trusted", f".hashed/{digest}").read_bytes() == PICTURE


async def test_a_url_with_query_and_other_letters_is_asked_for_as_it_is(
    server: Server, upstream: Upstream
) -> None:
    name = base64_identifier(f"{upstream.base}/open/ü?size=9&q=a%2Fb")
    assert (await server.get(f"/any:{name}/info.json")).status_code == 200
    assert upstream.count("/open/%C3%BC?size=9&q=a%2Fb") == 1


def untrusted(base: str) -> dict[str, str]:
    """URLs that begin, end or look as if they were trusted."""
    host = base.removeprefix("http://")
    return {
        "elsewhere": f"{base}/closed/x",
        "at the end": f"{base}/open/x?also=this",
        "at the start": f"x{base}/open/x",
        "inside": f"http://evil.example/?{base}/open/x",
        "on a second line": f"{base}/open/x\nhttp://evil.example/",
        "user name": f"http://{host}@evil.example/open/x",
        "user name here": f"http://user@{host}/open/x",
        "password": f"http://user:password@{host}/open/x",
        "backslash": f"{base}/open/\\..\\closed/x",
        "backslash for slash": f"{base}\\@evil.example/open/x",
        "dot segments": f"{base}/open/../closed/x",
        "single dot segment": f"{base}/open/./x",
        "encoded dot segments": f"{base}/open/%2e%2e/closed/x",
        "half encoded dot segments": f"{base}/open/.%2E/closed/x",
        "encoded slashes and dots": f"{base}/open/..%2fclosed/x",
        "space": f"{base}/open/x y",
        "tab": f"{base}/open/x\ty",
        "carriage return": f"{base}/open/x\r\nHost: evil.example",
        "zero width": f"{base}/open/x\u200by",
        "https": f"https://{host}/open/x",
        "capitals": f"HTTP://{host}/open/x",
        "no scheme": f"//{host}/open/x",
    }


@pytest.mark.parametrize("trick", untrusted("http://127.0.0.1:1"))
async def test_a_url_that_only_looks_trusted_is_refused(
    server: Server, upstream: Upstream, trick: str
) -> None:
    before = len(upstream.requests)
    response = await server.get(
        f"/trusted:{base64_identifier(untrusted(upstream.base)[trick])}/info.json"
    )
    assert_problem(response, 400, "trust")
    assert len(upstream.requests) == before


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.com/x",
        "gopher://example.com/x",
        "data:image/png;base64,AAAA",
        "unix:/run/docker.sock",
        "/etc/passwd",
        "example.com/x",
        "http:///x",
        "http://",
        "http:x",
        " http://example.com/x",
        "http://exa mple.com/",
        "http://[::1",
        "http://user@example.com/",
        "http://example.com/a/../b",
        "http://example.com\\b",
    ],
)
async def test_what_is_no_plain_web_address_is_refused_whatever_the_regex(
    server: Server, url: str
) -> None:
    assert_problem(await server.get(f"/any:{base64_identifier(url)}/info.json"), 400, "trust")


@pytest.mark.parametrize(
    "name",
    [
        "not base 64!",
        "%C3%BC%C3%BC",
        "a",
        "ab=cd",
        "====",
        "http:%2F%2Fexample.com%2Fx",
        base64_identifier(b"http://example.com/\xff\xfe"),
        base64_identifier(b"\x80"),
    ],
)
async def test_what_is_no_url_in_base_64_is_refused(server: Server, name: str) -> None:
    response = await server.get(f"/any:{name}/info.json")
    assert_problem(response, 400)


async def test_a_redirect_must_match_in_full_as_well(server: Server, upstream: Upstream) -> None:
    upstream.replies["/open/good"] = redirect("/open/target.jpg")
    upstream.replies["/open/bad"] = redirect("/closed/target.jpg")
    upstream.replies["/open/query"] = redirect("/open/target.jpg?more")
    upstream.replies["/open/climb"] = redirect("/open/../closed/target.jpg")
    upstream.replies["/open/encoded"] = redirect("/open/%2e%2e/closed/target.jpg")
    upstream.replies["/open/user"] = redirect(
        upstream.base.replace("//", "//me@") + "/open/target.jpg"
    )
    good = await server.get(f"/trusted:{base64_identifier(upstream.base + '/open/good')}/info.json")
    assert good.status_code == 200
    for name in ("bad", "query", "climb", "encoded", "user"):
        url = f"{upstream.base}/open/{name}"
        response = await server.get(f"/trusted:{base64_identifier(url)}/info.json")
        assert_problem(response, 502, "not trusted")
        assert not server.original_path("trusted", base64_identifier(url)).exists()
    assert [target for target in upstream.targets() if "closed" in target or "more" in target] == []


async def test_a_redirect_to_another_port_must_match_as_well(
    server: Server, upstream: Upstream
) -> None:
    with running_upstream() as other:
        upstream.replies["/open/port"] = redirect(f"{other.base}/open/x")
        name = base64_identifier(f"{upstream.base}/open/port")
        assert_problem(await server.get(f"/trusted:{name}/info.json"), 502, "not trusted")
        assert other.requests == []


async def test_errors_of_the_upstream_do_not_show_what_the_name_hides(
    server: Server, upstream: Upstream
) -> None:
    upstream.replies["/open/secret"] = status(500)
    name = base64_identifier(f"{upstream.base}/open/secret")
    sentence = assert_problem(await server.get(f"/trusted:{name}/info.json"), 502)
    assert "secret" not in sentence
    assert "upstream says no" not in sentence


async def test_many_requests_in_both_spellings_cause_one_fetch(
    server: Server, upstream: Upstream
) -> None:
    upstream.replies["/open/crowd1"] = delayed(0.1, send(PICTURE))
    name = base64_identifier(f"{upstream.base}/open/crowd1")
    assert name.endswith("=")
    paths = [f"/trusted:{spelling}/info.json" for spelling in (name, name.rstrip("="))] * 10
    responses = await asyncio.gather(*(server.get(path) for path in paths))
    assert {response.status_code for response in responses} == {200}
    assert upstream.count("/open/crowd1") == 1


async def test_the_seeds_example_works_as_it_is_written(upstream: Upstream, tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    config.write_text(
        f"source_path: {tmp_path}/source\ncache_path: {tmp_path}/cache\n"
        "image_pool_size: 1\nsize_pool_size: 1\nfetch: {allow_networks: [127.0.0.0/8]}\n"
        f"types:\n  project3:\n    source: web\n    regex: {upstream.base}/.+\n"
    )
    url = f"{upstream.base}/tests/test.jpg"
    async with running_app(load_settings(config)) as server:
        assert (
            await server.get(f"/project3:{base64_identifier(url)}/info.json")
        ).status_code == 200
        assert server.original_path("project3", base64_identifier(url)).read_bytes() == PICTURE
        assert_problem(await server.get("/project3:banana/info.json"), 400)


async def test_urls_that_differ_in_their_fragment_are_one_original(
    server: Server, upstream: Upstream
) -> None:
    """It is never sent: each spelling would be the same file again."""
    other = base64_identifier(
        f"{upstream.base}/other.jpg"
    )  # the folder of the type exists after it
    assert (await server.get(f"/any:{other}/info.json")).status_code == 200
    before = {path.name for path in server.original_path("any", "").iterdir()}
    names = [
        base64_identifier(f"{upstream.base}/one.jpg{end}")
        for end in ("#1", "#2", "", "#", "#a?b/../c")
    ]
    for name in names:
        assert (await server.get(f"/any:{name}/info.json")).status_code == 200
    assert upstream.count("/one.jpg") == 1
    after = {path.name for path in server.original_path("any", "").iterdir()}
    assert after - before - {".provenance"} == {names[2]}


async def test_a_fragment_makes_no_url_trusted(server: Server, upstream: Upstream) -> None:
    for url in (f"{upstream.base}/closed/x#{upstream.base}/open/x", f"{upstream.base}/open/#x"):
        response = await server.get(f"/trusted:{base64_identifier(url)}/info.json")
        assert_problem(response, 400, "trusts")
    assert upstream.count("/closed/x") == upstream.count("/open/") == 0
