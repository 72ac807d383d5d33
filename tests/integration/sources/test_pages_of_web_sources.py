"""The configurations in docs/sources run as printed."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from iiif_server.settings import load_settings
from support.apps import picture, running_app
from support.upstream import Upstream, running_upstream, send

PAGES = Path(__file__).parents[3] / "docs/sources"
TOKEN = "t0ken"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        upstream.replies["/masters/2024/banana.jpg"] = send(picture())
        yield upstream


def configuration(page: str, upstream: Upstream, folder: Path) -> Path:
    """The first configuration of a page as a file, for an upstream on loopback."""
    (printed, *_) = re.findall(r"```toml\n(.*?)```", (PAGES / page).read_text(), re.DOTALL)
    text = printed.replace("https://images.example.org", upstream.base)
    assert text != printed
    config = folder / "settings.toml"
    config.write_text(
        f'source_path = "source"\ncache_path = "cache"\n{text}\n'
        '[fetch]\nallow_networks = ["127.0.0.0/8"]\n'
    )
    for name in ("photographs.token", "partner.token"):
        (folder / name).write_text(f"{TOKEN}\n")
        (folder / name).chmod(0o600)
    return config


async def test_web(upstream: Upstream, tmp_path: Path) -> None:
    settings = load_settings(configuration("web.md", upstream, tmp_path))
    async with running_app(settings) as server:
        response = await server.get("/photographs:2024%2Fbanana/info.json")
    assert response.status_code == 200
    assert upstream.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"


async def test_trusted_web(upstream: Upstream, tmp_path: Path) -> None:
    settings = load_settings(configuration("trusted_web.md", upstream, tmp_path))
    written = quote(f"{upstream.base}/masters/2024/banana.jpg", safe="")
    async with running_app(settings) as server:
        response = await server.get_raw(f"/{written}/info.json".encode())
        assert response.status_code == 200
        elsewhere = quote(f"{upstream.base}/elsewhere.jpg", safe="")
        response = await server.get_raw(f"/{elsewhere}/info.json".encode())
        assert response.status_code == 400
    (asked,) = upstream.requests
    assert asked.headers["Authorization"] == f"Bearer {TOKEN}"
