"""What holds workers in, as those who run the server see it, and how they can choose."""

import asyncio
import os
import secrets
import shutil
import subprocess
import sys
import textwrap
from itertools import count
from pathlib import Path

import pytest
from PIL import Image

from iiif_server.errors import ConfigurationError
from iiif_server.telemetry.events import Rendered, WorkerRenewed
from iiif_server.workers.options import WorkerOptions
from iiif_server.workers.sandbox.confinement import available
from support.apps import decode_image, picture, running_app, settings_below
from support.pictures import photograph

TESTS = Path(__file__).parent.parent
TYPES = {"disk": {"source": "disk"}}


async def test_status_tells_what_workers_are_behind(tmp_path: Path) -> None:
    async with running_app(settings_below(tmp_path)) as server:
        told = (await server.status())["confinement"]
        found = server.services.image_pool.sandbox_status
        assert found == available()
        assert told["image"] == {
            "limits": found.limits,
            "landlock": found.landlock,
            "seccomp": found.seccomp,
            "barriers": list(found.restrictions),
        }
        assert told["size"] == told["image"]


async def test_workers_are_let_alone_where_that_is_wanted(tmp_path: Path) -> None:
    settings = settings_below(tmp_path, workers={"confinement": "off"})
    async with running_app(settings) as server:
        assert (await server.status())["confinement"]["image"] == {
            "limits": False, "landlock": 0, "seccomp": "", "barriers": [],
        }  # fmt: skip


async def test_server_starts_if_what_is_required_is_there(tmp_path: Path) -> None:
    settings = settings_below(tmp_path, workers={"confinement": "required"})
    if available().unavailable:
        with pytest.raises(ConfigurationError, match="this system has no"):
            async with running_app(settings):
                pytest.fail("it has started")
        return
    async with running_app(settings) as server:
        assert not server.services.image_pool.sandbox_status.unavailable


async def test_type_may_be_a_link_to_another_disk(tmp_path: Path) -> None:
    """Workers are let into what lies behind it, before and after the server has started."""
    for name in ("early", "late"):
        (tmp_path / f"volume-{name}").mkdir()
        (tmp_path / f"volume-{name}" / "pic.jpg").write_bytes(picture())
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "early").symlink_to(tmp_path / "volume-early")
    types = {"early": {"source": "disk"}, "late": {"source": "disk"}}
    async with running_app(settings_below(tmp_path, types=types)) as server:
        assert decode_image(await server.get("/early:pic.jpg/full/50,/0/default.jpg")).size == (
            50,
            38,
        )
        (tmp_path / "source" / "late").symlink_to(tmp_path / "volume-late")
        assert decode_image(await server.get("/late:pic.jpg/full/50,/0/default.jpg")).size == (
            50,
            38,
        )


async def test_cache_that_is_deleted_while_the_server_runs_is_filled_again(tmp_path: Path) -> None:
    options = {"min_pixels": 100_000, "tile_size": 128}
    settings = settings_below(tmp_path, types=TYPES, pyramids=options)
    async with running_app(settings) as server:
        original = server.put("disk", "pic.jpg", b"")
        Image.fromarray(photograph(700, 500)).save(original)
        urls = [f"/disk:pic.jpg/full/{width},/30/default.jpg" for width in (20, 30)] + [
            "/disk:pic.jpg/0,0,700,500/88,63/0/default.jpg"
        ]
        for _ in range(2):
            for url in urls:
                assert (await server.get(url)).status_code == 200
            shutil.rmtree(settings.cache_path)
        assert len(server.events_of(Rendered)) >= 4
        for url in urls:
            assert (await server.get(url)).status_code == 200
        # A part of a pyramid that is open is read on, though it has no name any more.
        assert len(server.services.store.paths()) >= 2
        assert {event.reason for event in server.events_of(WorkerRenewed)} <= {"folders"}
        pools = (await server.status())["pools"]
        assert [pool["replaced"] for pool in pools.values()] == [0, 0]


async def test_workers_are_renewed_while_images_are_made(tmp_path: Path) -> None:
    settings = settings_below(tmp_path, types=TYPES, workers=WorkerOptions(max_jobs=2))
    async with running_app(settings) as server:
        server.put("disk", "pic.jpg", picture())
        turns = count(1)  # as many images as it takes for workers to start: no two are the same
        while len(server.events_of(WorkerRenewed)) < 4:
            urls = [f"/disk:pic.jpg/full/20,/{next(turns) / 1000}/default.jpg" for _ in range(4)]
            for response in await asyncio.gather(*map(server.get, urls)):
                assert response.status_code == 200
        assert {event.reason for event in server.events_of(WorkerRenewed)} == {"jobs"}


# --- the environment ------------------------------------------------------------------------

SCRIPT = """
    import asyncio, os, sys
    from pathlib import Path
    from support import escapes
    from iiif_server.composition.services import open_services
    from iiif_server.settings import Settings

    async def ask():
        folder = Path(sys.argv[1])
        settings = Settings(
            cache_path=folder / "cache", source_path=folder / "source",
            image_pool_size=1, size_pool_size=1,
            workers={"confinement": "off"},  # so that the jobs may look
        )
        async with open_services(settings, print) as services:
            for pool in (services.header_pool, services.image_pool):
                variables = await pool.run(escapes.environment, None, timeout=60)
                print(*sorted(variables), flush=True)
                print(await pool.run(escapes.memory_of_the_start, None, timeout=60))
                backwards = b"a-secret-that-nobody-may-know"[::-1]
                print(await pool.run(escapes.memory_holds, backwards, timeout=60))
        print(os.environ["IIIF_ADMIN_SECRET"])

    if __name__ == "__main__":
        asyncio.run(ask())
"""


def test_workers_know_no_secrets_of_the_environment(tmp_path: Path) -> None:
    """Neither by name, nor in what they were started with, nor anywhere in their memory."""
    script = tmp_path / "server.py"
    script.write_text(textwrap.dedent(SCRIPT))
    secret = "a-secret-that-nobody-may-know"
    result = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}:{TESTS}",
             "IIIF_ADMIN_SECRET": secret, "DATABASE_PASSWORD": secret},
    )  # fmt: skip
    *workers, own = result.stdout.splitlines()
    assert own == secret  # the server has it still
    assert len(workers) == 6
    for names, start, holds in zip(workers[::3], workers[1::3], workers[2::3], strict=True):
        assert "PATH" in names.split()
        assert "IIIF_ADMIN_SECRET" not in names.split()
        assert "PATH=" in start
        assert secret not in start
        assert holds == "False"


LEAKING = """
    import sys
    from support import escapes
    print(*(escapes.memory_holds(word.encode()[::-1]) for word in sys.argv[1:]))
"""


def test_a_secret_that_is_in_memory_would_be_found() -> None:
    """And what is only looked for is not: the test above says something."""
    known, unknown = (f"secret-{secrets.token_hex(12)}" for _ in range(2))
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(LEAKING), known, unknown],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
            env={**os.environ, "PYTHONPATH": str(TESTS), "LEAKED": known},
        )
        assert done.stdout.split() == ["True", "False"]


# --- systems that lack something ------------------------------------------------------------

WITHOUT_LANDLOCK = """
    import errno
    from iiif_server.cli import main
    from iiif_server.workers.sandbox import seccomp

    if __name__ == "__main__":
        # As a kernel without Landlock answers.
        library = seccomp._library()
        context = library.seccomp_init(seccomp._ALLOW)
        for number in (444, 445, 446):
            library.seccomp_rule_add_array(context, seccomp._FAIL + errno.ENOSYS, number, 0, None)
        assert library.seccomp_load(context) == 0
        main()
"""


@pytest.mark.skipif(not available().seccomp, reason="this system has no seccomp to do it with")
@pytest.mark.parametrize(
    ("wanted", "code", "said"),
    [
        ("auto", 0, "ok    confinement: limits, seccomp"),
        ("auto", 0, "this system has no landlock; restricted: memory, cpu"),
        ("required", 1, 'FAIL  confinement: workers.confinement is "required", and this system'),
        ("off", 0, "ok    confinement: off"),
    ],
)
def test_check_says_what_a_system_lacks(tmp_path: Path, wanted: str, code: int, said: str) -> None:
    (tmp_path / "source" / "disk").mkdir(parents=True)
    config = tmp_path / "settings.toml"
    config.write_text(
        f'source_path = "{tmp_path}/source"\ncache_path = "{tmp_path}/cache"\n'
        f'workers.confinement = "{wanted}"\ntypes.disk.source = "disk"\n'
    )
    script = tmp_path / "iiif-server"
    script.write_text(textwrap.dedent(WITHOUT_LANDLOCK))
    done = subprocess.run(
        [sys.executable, str(script), "check", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert said in done.stdout, done.stderr
    assert done.returncode == code
    assert ", files," not in done.stdout
