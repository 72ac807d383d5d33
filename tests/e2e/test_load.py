"""Crawler of full-size images beside a reader of tiles (`make load`, but small)."""

import random
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from support.servers import ADMIN_TOKEN, Server, running_server

WIDTH, HEIGHT, TILE = 4096, 3072, 512
ORIGINALS, CRAWLERS, TILES = 8, 16, 60
EXPENSIVE = ("full/max/33/default.png", "full/max/0/color.png", "full/^4500,/0/gray.png")
CHEAP = ("full/max/0/default.jpg",)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Server with two workers and memory for few large images at a time."""
    folder: Path = tmp_path_factory.mktemp("load")
    settings = (
        f"admin.token = '{ADMIN_TOKEN}'\nimage_pool_size = 2\n"
        "[limits]\nqueue_length = 4\nqueue_timeout = 5\nmemory = '1GB'"
    )
    with running_server(folder, settings) as running:
        image = Image.effect_noise((WIDTH // 4, HEIGHT // 4), 50).resize((WIDTH, HEIGHT))
        image.convert("RGB").save(running.source / "0.jpg", quality=85)
        for number in range(1, ORIGINALS):
            (running.source / f"{number}.jpg").hardlink_to(running.source / "0.jpg")
        yield running


class Crawler(threading.Thread):
    """Thread that requests full-size images at random until it is stopped."""

    def __init__(self, server: Server, seed: int, stop: threading.Event) -> None:
        super().__init__()
        self._server = server
        self._chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._stop_event = stop
        self.answers: list[tuple[int, str | None]] = []

    def run(self) -> None:
        with httpx.Client(base_url=self._server.url, timeout=120) as client:
            while not self._stop_event.is_set():
                number = self._chance.randrange(ORIGINALS)
                what = self._chance.choice(EXPENSIVE + CHEAP)
                answer = client.get(f"/pictures:{number}.jpg/{what}")
                self.answers.append((answer.status_code, answer.headers.get("retry-after")))
                if answer.status_code != 200:
                    self._stop_event.wait(0.1)


def random_tile(chance: random.Random) -> str:
    column, row = chance.randrange(WIDTH // TILE), chance.randrange(HEIGHT // TILE)
    return f"/pictures:0.jpg/{column * TILE},{row * TILE},{TILE},{TILE}/{TILE},{TILE}/0/default.jpg"


def test_tiles_are_answered_while_crawlers_request_full_size_images(server: Server) -> None:
    chance = random.Random(0)  # noqa: S311 - repeatable, not secret
    stop = threading.Event()
    with httpx.Client(base_url=server.url, timeout=60) as reader:
        assert reader.get(random_tile(chance)).status_code == 200
        crawlers = [Crawler(server, seed, stop) for seed in range(CRAWLERS)]
        for crawler in crawlers:
            crawler.start()
        try:
            seen = Counter(reader.get(random_tile(chance)).status_code for _ in range(TILES))
            small = Counter(
                reader.get(f"/pictures:0.jpg/full/{width},/0/default.jpg").status_code
                for width in range(100, 110)
            )
            headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
            status = reader.get("/admin/status", headers=headers).json()
        finally:
            stop.set()
            for crawler in crawlers:
                crawler.join()
        assert (dict(seen), dict(small)) == ({200: TILES}, {200: 10})
        answers = [answer for crawler in crawlers for answer in crawler.answers]
        counts = Counter(code for code, _ in answers)
        assert set(counts) == {200, 503}, counts
        assert all(retry for code, retry in answers if code == 503)
        full = status["lanes"]["full"]
        assert full["running"] <= 1
        assert full["waiting"] <= 4
        assert full["bytes"] <= 1_000_000_000
        assert status["pools"]["image"]["replaced"] == 0
        # It has all been taken back, and what comes next is answered.
        assert reader.get("/pictures:1.jpg/full/90,/0/default.jpg").status_code == 200
