"""Image headers that replicas take from each other."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from iiif_server.codecs.probe import probe
from iiif_server.iiif.identifier import Identifier
from iiif_server.images.originals import Original, Originals
from iiif_server.images.shared_images import SharedImages
from iiif_server.plan.header import ImageHeader
from iiif_server.plan.local_file import LocalFile
from iiif_server.plan.original_format import DEFAULT_BOUNDS, OriginalFormat
from iiif_server.sharing.shared_cache import SharedCache
from support import pictures, tiffs

MAX = 10**9
NAME = Identifier("web", "a")


class Objects:
    """The shared cache, as far as records are concerned."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.purged_at = 0
        self.reads = 0

    def offer_record(self, name: str, content: bytes) -> None:
        self.content[name] = content

    async def read(self, name: str) -> bytes | None:
        self.reads += 1
        return self.content.get(name)


@dataclass
class Machine:
    objects: Objects
    here: bool = False
    origin: str | None = ""
    now: float = 1000.0

    def images(self, **options: Any) -> SharedImages:
        async def is_here(name: str) -> bool:
            assert name == NAME.name
            return self.here

        source = SimpleNamespace(origin=self.origin, is_here=is_here)
        originals = cast("Originals", SimpleNamespace(source=lambda _: source))
        chosen = {"max_pixels": MAX, "bounds": DEFAULT_BOUNDS, "refresh_after": None, **options}
        shared = cast("SharedCache", self.objects)
        return SharedImages(shared, originals, clock=lambda: self.now, **chosen)


PHOTOGRAPH = pictures.photograph(300, 200)
FILES: Mapping[str, bytes] = {
    "jpeg": pictures.jpeg(PHOTOGRAPH),
    "tiled tiff": tiffs.tiled(PHOTOGRAPH),
    "strips": pictures.tiff(pictures.vips(PHOTOGRAPH, "srgb")),
}


def original(folder: Path, kind: str) -> tuple[Original, ImageHeader]:
    (path := folder / "original").write_bytes(FILES[kind])
    header = replace(probe(path, MAX), generated_profile=b"\x00\xff profile")
    return Original(NAME, LocalFile.at(path), "a checksum"), header


@pytest.mark.parametrize("kind", FILES)
def test_another_machine_knows_the_same_header_and_keys(tmp_path: Path, kind: str) -> None:
    objects = Objects()
    offered, header = original(tmp_path, kind)
    Machine(objects).images().offer(offered, header)
    images = Machine(objects).images()
    found = asyncio.run(images.find(NAME))
    assert found is not None
    assert found[0].absent
    assert found[0].fingerprint == offered.fingerprint
    assert found[0].modified == offered.modified
    assert found[1] == header
    assert asyncio.run(images.find(NAME)) == found
    assert objects.reads == 1


def test_what_is_not_to_be_shared_is_not(tmp_path: Path) -> None:
    objects = Objects()
    offered, header = original(tmp_path, "jpeg")
    Machine(objects, origin=None).images().offer(offered, header)
    Machine(objects).images().offer(replace(offered, content=None), header)
    assert objects.content == {}
    Machine(objects).images().offer(offered, header)
    for machine in (Machine(objects, origin=None), Machine(objects, here=True)):
        assert asyncio.run(machine.images().find(NAME)) is None
    assert objects.reads == 0


@pytest.mark.parametrize(
    "options",
    [
        {"max_pixels": 59_999},
        {"bounds": replace(DEFAULT_BOUNDS, formats=frozenset({OriginalFormat.PNG}))},
    ],
    ids=["pixels", "format"],
)
def test_limits_of_this_machine_hold(tmp_path: Path, options: Any) -> None:
    objects = Objects()
    Machine(objects).images().offer(*original(tmp_path, "jpeg"))
    assert asyncio.run(Machine(objects).images(**options).find(NAME)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"form": 0},
        {"release": "0.0.1"},
        {"identifier": "web:b"},
        {"content": ""},
        {"size": -1},
        {"asked": None},
        {"header": {}},
        {"more": 1},
        None,
    ],
    ids=str,
)
def test_records_of_others_are_not_believed(tmp_path: Path, change: Any) -> None:
    objects = Objects()
    Machine(objects).images().offer(*original(tmp_path, "jpeg"))
    ((name, content),) = objects.content.items()
    changed = json.dumps(json.loads(content) | change) if change else "no JSON"
    objects.content[name] = changed.encode()
    assert asyncio.run(Machine(objects).images().find(NAME)) is None


def test_a_record_is_due_as_an_original_is(tmp_path: Path) -> None:
    objects = Objects()
    Machine(objects).images(refresh_after=60).offer(*original(tmp_path, "jpeg"))
    for seconds, known in ((59, True), (60, False)):
        images = Machine(objects, now=1000 + seconds).images(refresh_after=60)
        assert (asyncio.run(images.find(NAME)) is not None) == known


def test_a_purge_forgets_records(tmp_path: Path) -> None:
    objects = Objects()
    images = Machine(objects).images()
    images.offer(*original(tmp_path, "jpeg"))
    assert asyncio.run(images.find(NAME)) is not None
    objects.content.clear()
    assert asyncio.run(images.find(NAME)) is not None
    objects.purged_at = 1
    assert asyncio.run(images.find(NAME)) is None
