"""Object stores with unusual responses; tests/e2e/test_objects.py has the usual ones."""

from pathlib import Path

import pytest

from support.apps import fetch_options, picture, running_app, settings_below
from support.upstream import running_upstream, send

PICTURE = picture()
DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize("tag", ["abc", 'W/"abc"', '"' + "a" * 2000 + '"'])
async def test_an_unusual_entity_tag_is_no_failure(tmp_path: Path, tag: str) -> None:
    with running_upstream() as upstream:
        upstream.replies["/scans/a.jpg"] = send(PICTURE, ETag=tag, Last_Modified=DATE)
        bucket = {
            "source": "objects",
            "url": "s3://scans/{name}",
            "endpoint": upstream.base,
            "anonymous": True,
        }
        settings = settings_below(tmp_path, types={"s3": bucket}, fetch=fetch_options())
        async with running_app(settings) as server:
            assert (await server.get("/s3:a.jpg/info.json")).status_code == 200
            assert server.original_path("s3", "a.jpg").read_bytes() == PICTURE
