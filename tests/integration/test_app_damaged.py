"""A damaged JPEG is refused as a whole as it is in parts, before its bytes are passed on."""

import random
from io import BytesIO
from pathlib import Path

from PIL import Image

from support import pictures
from support.apps import assert_problem, decode_image, picture, running_app, settings_below

FLIPS = 40


def readable(data: bytes) -> bool:
    """Whether another decoder reads it."""
    try:
        with Image.open(BytesIO(data)) as image:
            image.load()
    except Exception:  # noqa: BLE001 - decoders of damaged data raise whatever they like
        return False
    return True


async def test_a_jpeg_with_a_damaged_bit_in_its_header_is_passed_on_only_if_it_can_be_read(
    tmp_path: Path,
) -> None:
    good = pictures.jpeg(pictures.photograph(64, 48))
    header = good.index(b"\xff\xda") + 14
    chance = random.Random(38)  # noqa: S311 - the same flips each time
    async with running_app(settings_below(tmp_path, types={"disk": {"source": "disk"}})) as server:
        passed = refused = 0
        for number in range(FLIPS):
            place, bit = chance.randrange(2, header), chance.randrange(8)
            damaged = bytearray(good)
            damaged[place] ^= 1 << bit
            server.put("disk", f"{number}.jpg", bytes(damaged))
            whole = await server.get(f"/disk:{number}.jpg/full/max/0/default.jpg")
            part = await server.get(f"/disk:{number}.jpg/0,0,16,16/8,/0/default.png")
            assert whole.status_code == part.status_code, f"bit {bit} of byte {place}"
            if whole.status_code == 200:
                passed += 1
                assert readable(whole.content), f"bit {bit} of byte {place}"
            else:
                refused += 1
        assert passed > 0
        assert refused > 0


async def test_an_original_is_decoded_once_before_it_is_passed_on(tmp_path: Path) -> None:
    async with running_app(settings_below(tmp_path, types={"disk": {"source": "disk"}})) as server:
        server.put("disk", "pic.jpg", picture())
        pool = server.services.image_pool
        counts = [pool.stats.done]
        for _ in range(3):
            answer = await server.get("/disk:pic.jpg/full/max/0/default.jpg")
            assert answer.content == picture()
            counts.append(pool.stats.done)
        assert [later - counts[0] for later in counts] == [0, 1, 1, 1]


async def test_a_jpeg_whose_pixels_cannot_be_decoded_is_refused_as_a_whole(tmp_path: Path) -> None:
    good = pictures.jpeg(pictures.photograph(64, 48))
    tables = good.index(b"\xff\xc4")  # Huffman: a length that cannot be
    damaged = good[: tables + 5] + b"\xff" * 16 + good[tables + 21 :]
    async with running_app(settings_below(tmp_path, types={"disk": {"source": "disk"}})) as server:
        server.put("disk", "pic.jpg", damaged)
        for _ in range(2):
            assert_problem(await server.get("/disk:pic.jpg/full/max/0/default.jpg"), 422)
        server.put("disk", "pic.jpg", good + b"\0")
        again = await server.get("/disk:pic.jpg/full/max/0/default.jpg")
        assert decode_image(again).size == (64, 48)
