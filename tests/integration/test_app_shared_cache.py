"""A server whose shared cache does not answer."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from iiif_server.telemetry.events import SharedCacheFailed
from support.apps import Server, picture, running_app, settings_below
from support.servers import ADMIN_TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEADERS = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
NOTHING = "http://127.0.0.1:9"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    settings = settings_below(
        tmp_path_factory.mktemp("shared"),
        types={"disk": {"source": "disk"}},
        cache={"shared": "s3://bucket/cache", "shared_timeout": 0.2},
        cache_bucket={"endpoint": NOTHING, "access_key_id": "a", "secret_access_key": "b"},
    )
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", picture())
        yield server


async def test_images_are_made_all_the_same(server: Server) -> None:
    for width in range(10, 15):
        answer = await server.get(f"/disk:pic.jpg/full/{width},/0/default.png")
        assert answer.status_code == 200
    assert len(server.events_of(SharedCacheFailed)) == 1
    status = (await server.client.get("/admin/status", headers=HEADERS)).json()["shared"]
    assert status["state"] in {"open", "half-open"}
    assert (status["hits"], status["writes"]) == (0, 0)
    assert status["failures"] >= 3
    numbers = (await server.client.get("/metrics", headers=HEADERS)).text
    assert "iiif_shared_cache_open 1.0" in numbers
    assert "iiif_shared_cache_failures_total" in numbers


async def test_a_purge_that_reaches_this_machine_only_is_refused(server: Server) -> None:
    path = "/disk:pic.jpg/full/20,/0/default.png"
    assert (await server.get(path)).status_code == 200
    stored = server.services.store
    assert stored.paths()
    answer = await server.client.delete("/admin/cache", headers=HEADERS)
    assert answer.status_code == 503
    assert "The shared cache does not answer" in answer.text
    assert not stored.paths()
