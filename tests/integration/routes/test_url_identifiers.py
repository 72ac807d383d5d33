"""URLs as identifiers, as Islandora, Drupal and Omeka send them: `https%3A%2F%2Fhost%2Fa.jpg`."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio
from click.testing import CliRunner

from iiif_server.cli import main
from support.apps import (
    Server,
    assert_problem,
    base64_identifier,
    decode_image,
    fetch_options,
    picture,
    running_app,
    settings_below,
)
from support.upstream import Upstream, running_upstream, send

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURE = picture()
KEY = "k" * 40


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        upstream.otherwise = send(PICTURE)
        yield upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    base = upstream.base
    settings = settings_below(
        tmp_path_factory.mktemp("urls"),
        fetch=fetch_options(),
        types={
            "folder": {"source": "disk"},
            "first": {"source": "trusted_web", "prefixes": [f"{base}/open/"]},
            "second": {"source": "trusted_web", "regex": f"{base}/(open|more)/.*"},
            "closed": {
                "source": "trusted_web",
                "prefixes": [f"{base}/closed/"],
                "access": "signed",
            },
        },
        default_type="folder",
        signing={"keys": [KEY]},
    )
    async with running_app(settings) as server:
        yield server


def everything(url: str) -> str:
    return quote(url, safe="")


async def test_all_forms_are_one_original(server: Server, upstream: Upstream) -> None:
    url = f"{upstream.base}/open/a.jpg"
    merged = url.replace("://", ":/")
    for written in (
        everything(url),
        everything(url).lower(),
        quote(url, safe=":/"),
        quote(url, safe=":"),
        quote(merged, safe=":/"),
        everything(merged),
        everything(f"{url}#fragment"),
        f"first:{base64_identifier(url)}",
        quote(f"first:{base64_identifier(url)}", safe=""),
    ):
        for version in ("", "/iiif/2", "/iiif/3"):
            response = await server.get_raw(f"{version}/{written}/info.json".encode())
            assert response.status_code == 200, written
            document = response.json()
            assert document.get("id", document.get("@id")).endswith(f"{version}/{written}")
        image = await server.get_raw(f"/{written}/full/max/0/default.jpg".encode())
        assert decode_image(image).size == (200, 150)
    assert upstream.count("/open/a.jpg") == 1


async def test_the_first_type_that_trusts_a_url_has_it(server: Server, upstream: Upstream) -> None:
    for place, type_ in (("open", "first"), ("more", "second")):
        url = f"{upstream.base}/{place}/order.jpg"
        assert (await server.get_raw(f"/{everything(url)}/info.json".encode())).status_code == 200
        assert server.original_path(type_, base64_identifier(url)).exists()


@pytest.mark.parametrize(
    ("below", "target"),
    [
        ("a.jpg?size=1&x=%2F", "a.jpg?size=1&x=%2F"),
        ("b%20c.jpg", "b%20c.jpg"),
        ("b%2Fc.jpg", "b%2Fc.jpg"),
        ("caf\xe9.jpg", "caf%C3%A9.jpg"),
        ("a.jpg;2", "a.jpg;2"),
        ("a:b@c.jpg", "a:b@c.jpg"),
    ],
)
async def test_what_is_encoded_in_the_url_itself_stays(
    server: Server, upstream: Upstream, below: str, target: str
) -> None:
    written = everything(f"{upstream.base}/open/{below}")
    assert (await server.get_raw(f"/{written}/info.json".encode())).status_code == 200
    assert upstream.count(f"/open/{target}") == 1


@pytest.mark.parametrize(
    "url",
    [
        "{base}/other/a.jpg",
        "{base}/open/../other/a.jpg",
        "{base}/open/%2e%2e/a.jpg",
        "{base}/open/%252e%252e%252fa.jpg",
        "http://u:p@{host}/open/a.jpg",
        "{base}/open/a b.jpg",
        "http:{host}/open/a.jpg",
        "http:///{host}/open/a.jpg",
        "https://{host}/open/a.jpg",
        "http://",
        "http:x",
    ],
)
async def test_a_url_that_no_type_trusts_is_refused(
    server: Server, upstream: Upstream, url: str
) -> None:
    asked = len(upstream.requests)
    written = everything(url.format(base=upstream.base, host=upstream.base.partition("//")[2]))
    response = await server.get_raw(f"/{written}/info.json".encode())
    assert_problem(response, 400, "trusts")
    assert len(upstream.requests) == asked


async def test_where_no_type_takes_urls_they_have_an_unknown_type(tmp_path: Path) -> None:
    async with running_app(settings_below(tmp_path, types={"t": {"source": "disk"}})) as server:
        response = await server.get_raw(b"/https%3A%2F%2Fexample.org%2Fa.jpg/info.json")
        assert_problem(response, 404, "no type")


async def test_the_other_pages_take_them(server: Server, upstream: Upstream) -> None:
    written = everything(f"{upstream.base}/open/pages.jpg")
    for path in ("manifest.json", "view", "embed"):
        response = await server.get_raw(f"/{written}/{path}".encode())
        assert response.status_code in {200, 404}, path
    response = await server.get_raw(f"/iiif/3/{written}/manifest.json".encode())
    explained = await server.admin("GET", f"/explain/{written}/full/max/0/default.jpg")
    assert explained.status_code == 200, explained.text


async def test_a_purge_removes_what_was_made_of_either_form(
    server: Server, upstream: Upstream
) -> None:
    url = f"{upstream.base}/open/purge.jpg"
    for written in (everything(url), f"first:{base64_identifier(url)}"):
        await server.get_raw(f"/{written}/full/50,/0/default.jpg".encode())
        purged = await server.admin("DELETE", f"/cache/{everything(url)}")
        assert purged.json()["removed"] > 0
        again = await server.admin("DELETE", f"/cache/first:{base64_identifier(url)}")
        assert again.json()["removed"] == 0


async def test_signed_urls_name_them(server: Server, upstream: Upstream) -> None:
    written = everything(f"{upstream.base}/closed/a.jpg")
    assert (await server.get_raw(f"/{written}/info.json".encode())).status_code == 403
    identifier = server.services.identifiers.read(written)
    assert server.services.signatures is not None
    signature = server.services.signatures.sign(identifier, int(time.time()) + 100, None)
    for form in (written, f"closed:{base64_identifier(f'{upstream.base}/closed/a.jpg')}"):
        response = await server.get_raw(f"/{signature}/{form}/info.json".encode())
        assert response.status_code == 200
        assert response.json()["id"].endswith(f"/{signature}/{form}")


async def test_commands_take_them(upstream: Upstream, tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(
        f'source_path = "source"\ncache_path = "cache"\nsize_pool_size = 1\nimage_pool_size = 1\n'
        f'[types.web]\nsource = "trusted_web"\naccess = "signed"\nprefixes = "{upstream.base}/"\n'
        f'[fetch]\nallow_networks = ["127.0.0.0/8"]\n[signing]\nkeys = ["{KEY}"]\n'
    )
    url = f"{upstream.base}/command.jpg"
    config.chmod(0o600)

    async def run(*arguments: str) -> str:
        whole = [*arguments, "--config", str(config)]
        result = await asyncio.to_thread(CliRunner().invoke, main, whole)
        assert result.exit_code == 0, result.output
        return result.output

    assert f"/web:{base64_identifier(url).replace('=', '%3D')}/info.json" in await run(
        "sign", everything(url)
    )
    await run("prepare", everything(url))
    assert upstream.count("/command.jpg") == 1
    assert "removed" in await run("cache", "purge", "--identifier", everything(url))
