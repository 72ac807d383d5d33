"""A user who may write into a folder of originals cannot make the server read other files."""

import errno
import os
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from iiif_server.codecs.open_originals import OpenOriginal
from iiif_server.codecs.probe import probe_file
from iiif_server.errors import (
    OriginalChangedError,
    OriginalNotFoundError,
    OutsideFolderError,
    SourceUnavailableError,
    TooManyOpenFilesError,
)
from iiif_server.formats.tiff_tables import read_tile_tables
from iiif_server.plan.local_file import LocalFile
from iiif_server.sources.opening import OpenedFile, error_of, open_file, open_in_folder
from iiif_server.telemetry.events import SourceFailed
from support.apps import Server, decode_image, running_app, settings_below, sleep_until_revalidated

SIZE = 5000
OWN, SECRET = (0, 0, 250), (250, 0, 0)


def picture(colour: tuple[int, int, int], format_: str) -> bytes:
    """A picture of one colour, in so many bytes whatever the colour."""
    buffer = BytesIO()
    Image.new("RGB", (32, 32), colour).save(buffer, format_)
    return buffer.getvalue().ljust(SIZE, b"\0")


class Attack:
    """An original that can be swapped for a link to a secret of the same size and times."""

    def __init__(self, root: Path, format_: str = "JPEG") -> None:
        self.folder = root / "source" / "disk"
        self.folder.mkdir(parents=True)
        self.original = self.folder / "a" / "pic"
        self.original.parent.mkdir()
        self.original.write_bytes(picture(OWN, format_))
        self.secret = root / "secrets" / "pic"
        self.secret.parent.mkdir()
        self.secret.write_bytes(picture(SECRET, format_))
        shutil.copystat(self.original, self.secret)

    def swap_file(self) -> None:
        """Put a link in the place of the file."""
        link = self.folder / "link"
        link.symlink_to(self.secret)
        link.replace(self.original)

    def swap_folder(self) -> None:
        """Put a link in the place of its folder: the file itself stays as it was."""
        self.original.parent.rename(self.folder / "aside")
        self.original.parent.symlink_to(self.secret.parent)

    def swap_back(self) -> None:
        """Put the folder back, as if nothing had been."""
        self.original.parent.unlink()
        (self.folder / "aside").rename(self.original.parent)


SWAPS = [Attack.swap_file, Attack.swap_folder]


@pytest.mark.parametrize("swap", SWAPS)
def test_a_link_out_of_the_folder_is_not_opened(
    tmp_path: Path, swap: Callable[[Attack], None]
) -> None:
    attack = Attack(tmp_path)
    open_in_folder(attack.folder, "a/pic").close()
    swap(attack)
    with pytest.raises(OutsideFolderError) as caught:
        open_in_folder(attack.folder, "a/pic")
    assert str(attack.secret) in caught.value.detail
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("swap", SWAPS)
@pytest.mark.parametrize(
    "read",
    [
        lambda file: probe_file(file, max_pixels=10**6),
        lambda file: read_tile_tables(file, keep_profile=False),
        OpenOriginal,
    ],
    ids=["header", "tile tables", "pixels"],
)
def test_a_worker_reads_the_file_that_was_opened_or_none(
    tmp_path: Path, swap: Callable[[Attack], None], read: Callable[[LocalFile], Any]
) -> None:
    attack = Attack(tmp_path)
    file = open_in_folder(attack.folder, "a/pic").file
    swap(attack)
    with pytest.raises(OriginalChangedError):
        read(file)


def test_what_is_open_is_what_is_read_whatever_its_name_leads_to(tmp_path: Path) -> None:
    attack = Attack(tmp_path)
    held = open_in_folder(attack.folder, "a/pic")
    attack.swap_folder()
    assert os.pread(held.descriptor, SIZE, 0) == picture(OWN, "JPEG")
    held.close()


def swapping(attack: Attack, run: Any, *, back: bool) -> Any:
    """A pool's `run` that swaps before each job, and puts things back after it."""

    async def swapped(*arguments: Any, **options: Any) -> Any:
        attack.swap_folder()
        try:
            return await run(*arguments, **options)
        finally:
            if back:
                attack.swap_back()

    return swapped


async def asked(server: Server) -> list[int]:
    """The statuses of all kinds of requests, none of whose answers shows the secret."""
    codes = []
    for path in ("info.json", "full/max/0/default.jpg", "full/16,/0/default.png"):
        answer = await server.get(f"/disk:a/pic/{path}")
        codes.append(answer.status_code)
        if answer.status_code == 200 and not path.endswith("json"):
            pixel = decode_image(answer).convert("RGB").tobytes()[:3]
            assert pixel[2] > pixel[0], f"{path} shows the secret"
    return codes


@pytest.mark.parametrize("format_", ["JPEG", "BMP", "TIFF"])
@pytest.mark.parametrize("pool", ["header_pool", "image_pool"])
async def test_a_swap_right_before_a_worker_reads_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: str, format_: str
) -> None:
    """The worker is given the file that was opened and judged, and looks at no path."""
    attack = Attack(tmp_path, format_)
    async with running_app(settings_below(tmp_path, types={"disk": {"source": "disk"}})) as server:
        victim = getattr(server.services, pool)
        monkeypatch.setattr(victim, "run", swapping(attack, victim.run, back=True))
        assert await asked(server) == [200, 200, 200]


@pytest.mark.parametrize("swap", SWAPS)
async def test_a_swap_between_requests_is_noticed(
    tmp_path: Path, swap: Callable[[Attack], None]
) -> None:
    attack = Attack(tmp_path)
    async with running_app(settings_below(tmp_path, types={"disk": {"source": "disk"}})) as server:
        assert await asked(server) == [200, 200, 200]
        swap(attack)
        await asked(server)  # what is remembered may be answered, and nothing else
        await sleep_until_revalidated()
        assert await asked(server) == [404, 404, 404]
        failures = server.events_of(SourceFailed)
        assert {told.path for told in failures} == {str(attack.original)}
        for told in failures:
            assert "outside of its folder" in told.reason
            assert str(attack.secret) in told.reason


@pytest.mark.parametrize("path", ["info.json", "full/max/0/default.jpg", "full/16,/0/default.png"])
@pytest.mark.parametrize("swap", SWAPS)
@pytest.mark.parametrize("known", [True, False])
async def test_a_link_out_of_the_folder_is_logged_once_a_request(
    tmp_path: Path, path: str, swap: Callable[[Attack], None], *, known: bool
) -> None:
    attack = Attack(tmp_path)
    async with running_app(settings_below(tmp_path, types={"disk": {"source": "disk"}})) as server:
        if known:
            assert await asked(server) == [200, 200, 200]
        swap(attack)
        await sleep_until_revalidated()
        assert (await server.get(f"/disk:a/pic/{path}")).status_code == 404
        (told,) = server.events_of(SourceFailed)
        assert (told.identifier, told.path) == ("disk:a/pic", str(attack.original))
        assert f"link to {attack.secret}, outside" in told.reason


# --- opening -------------------------------------------------------------------------------------


def test_links_inside_the_folder_are_followed_and_names_that_are_none_refused(
    tmp_path: Path,
) -> None:
    attack = Attack(tmp_path)
    (attack.folder / "link").symlink_to("a/pic")
    (attack.folder / "b").symlink_to("a")
    for name in ("link", "b/pic", "a/pic"):
        held = open_in_folder(attack.folder, name)
        assert held.file == LocalFile.at(attack.original)
        held.close()
    os.mkfifo(attack.folder / "pipe")
    for name in (
        "a",
        "pipe",
        "missing",
        "a/pic/x",
        "a\0b",
        "n" * 300,
        "../disk/a/pic",
        "",
        "a//pic",
    ):
        with pytest.raises(OriginalNotFoundError):
            open_in_folder(attack.folder, name)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, OriginalNotFoundError),
        (errno.ENOTDIR, OriginalNotFoundError),
        (errno.ENAMETOOLONG, OriginalNotFoundError),
        (errno.ELOOP, OriginalNotFoundError),
        (errno.EACCES, SourceUnavailableError),
        (errno.EIO, SourceUnavailableError),
        (errno.ESTALE, SourceUnavailableError),
        (errno.ENOTCONN, SourceUnavailableError),
        (errno.EMFILE, TooManyOpenFilesError),
        (errno.ENFILE, TooManyOpenFilesError),
    ],
)
def test_what_a_disk_says_decides_the_answer(number: int, kind: type[Exception]) -> None:
    refusal = error_of(OSError(number, os.strerror(number), "/secret/path"))
    assert type(refusal) is kind
    assert "/secret" not in str(refusal)


def test_a_descriptor_is_open_as_long_as_anybody_uses_it(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    held: OpenedFile = open_file(path)
    with held.kept_open() as descriptor:
        held.close()
        assert os.pread(descriptor, 3, 0) == b"abc"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    with pytest.raises(OriginalChangedError), held.kept_open():
        pytest.fail("it is closed")


def test_each_kind_of_change_is_another_version(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    os.utime(path, ns=(0, 10**18))
    version = LocalFile.at(path).version
    for content in (b"xyz", b"abc"):  # written over, and then as it was
        path.write_bytes(content)
        os.utime(path, ns=(0, 10**18))
        assert LocalFile.at(path).version != version
    version = LocalFile.at(path).version
    shutil.copy2(path, tmp_path / "b")
    (tmp_path / "b").replace(path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (3, 10**18)
    assert LocalFile.at(path).version != version
