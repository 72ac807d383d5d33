"""Files and folders of a type that the user of the server cannot read."""

import errno
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from iiif_server.sources.unreadable import find_unreadable
from support.apps import picture
from support.privileges import unprivileged
from support.servers import TRUST, running_server, server_environment

USER = f"{pwd.getpwuid(os.geteuid()).pw_name} (uid {os.geteuid()})"
ADVICE = "permission denied (EACCES); permit this user to read files and to enter folders"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder of the type `disk`; what tests close in it is opened at the end."""
    folder = tmp_path / "source" / "disk"
    (folder / "a" / "deep").mkdir(parents=True)
    for name in ("1.jpg", "2.jpg", "a/3.jpg", "a/deep/4.jpg"):
        (folder / name).write_bytes(picture())
    yield folder
    folder.chmod(0o755)
    for path, _, _ in os.walk(folder, onerror=lambda error: Path(error.filename).chmod(0o755)):
        Path(path).chmod(0o755)


def checked(folder: Path, types: str = "[types.disk]\nsource = 'disk'\n") -> tuple[int, list[str]]:
    """The exit status of `iiif-server check`, and what it says of types."""
    root = folder.parents[1]
    config = root / "settings.toml"
    config.write_text(
        f'source_path = "{root}/source"\ncache_path = "{root}/cache"\n'
        f"image_pool_size = 1\nsize_pool_size = 1\n{types}"
    )
    done = subprocess.run(
        [*unprivileged(), sys.executable, "-m", "iiif_server", "check", "--config", str(config)],
        env=server_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, [line for line in done.stdout.splitlines() if "  type " in line]


def test_what_can_be_read_is_counted(folder: Path) -> None:
    (folder / ".hidden").write_text("not served")
    (folder / "link.jpg").symlink_to("1.jpg")
    said = f"folder {folder}, 6 files and folders can be read by the user {USER}"
    assert checked(folder) == (0, [f"ok    type disk: source disk, {said}"])


def test_links_that_lead_out_of_the_folder_are_a_warning(folder: Path) -> None:
    outside = folder.parents[1] / "nas"
    outside.mkdir()
    (outside / "5.jpg").write_bytes(picture())
    (folder / "a/5.jpg").symlink_to(outside / "5.jpg")
    (folder / "dangling.jpg").symlink_to(outside / "nothing")
    code, lines = checked(folder)
    assert (code, len(lines)) == (0, 2)
    assert lines[1] == (
        f"WARN  type disk: source disk, folder {folder}: 1 link leads out of it, as "
        f"{folder}/a/5.jpg to {outside}/5.jpg; such links are followed with follow_links = "
        f'["{outside}"]'
    )
    types = f"[types.disk]\nsource = 'disk'\nfollow_links = ['{outside}', '{outside}/no']\n"
    code, lines = checked(folder, types)
    assert (code, len(lines)) == (0, 2)
    assert lines[0] == f"WARN  type disk: follow_links: there is no folder {outside}/no"
    assert lines[1].startswith("ok    type disk: ")


def test_a_link_to_a_folder_is_followed_by_naming_that_folder_and_no_larger_one(
    folder: Path,
) -> None:
    outside = folder.parents[1] / "nas"
    outside.mkdir()
    (folder / "nas").symlink_to(outside)
    _, lines = checked(folder)
    assert lines[1].endswith(
        f' to {outside}; such links are followed with follow_links = ["{outside}"]'
    )


def test_of_several_folders_each_is_told_of(folder: Path) -> None:
    types = f"[types.disk]\nsource = 'disk'\npath = ['{folder}/gone', '{folder}/a']\n"
    code, lines = checked(folder, types)
    assert code == 1
    gone = f"the folder {folder}/gone does not exist: create it and put the originals there"
    readable = f"3 files and folders can be read by the user {USER}"
    assert lines == [
        f"FAIL  type disk: {gone}",
        f"ok    type disk: source disk, folder {folder}/a, {readable}",
    ]


@pytest.mark.parametrize(
    "closed", ["2.jpg", "a/3.jpg", "a/deep/4.jpg", "a/deep"], ids=["file", "in", "deep", "folder"]
)
def test_a_file_or_folder_that_cannot_be_read_is_a_warning(folder: Path, closed: str) -> None:
    (folder / closed).chmod(0)
    code, lines = checked(folder)
    tried = 5 if closed == "a/deep" else 6
    start = f"WARN  type disk: source disk, folder {folder}: of {tried} files and folders the user "
    assert (code, len(lines)) == (0, 1)
    assert lines[0].startswith(f"{start}{USER} cannot read 1, as {folder}/{closed}: {ADVICE}")


@pytest.mark.parametrize("mode", [0o444, 0o111], ids=["cannot be entered", "cannot be listed"])
def test_a_folder_counts_once(folder: Path, mode: int) -> None:
    (folder / "a").chmod(mode)
    _, (line,) = checked(folder)
    assert f"of 3 files and folders the user {USER} cannot read 1, as {folder}/a: " in line


@pytest.mark.parametrize("mode", [0, 0o444, 0o111])
def test_a_folder_of_a_type_that_is_closed_is_a_problem(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    code, (line,) = checked(folder)
    assert code == 1
    assert re.fullmatch(rf"FAIL  type disk: the user \w+ cannot read the folder {folder}: .*", line)


def test_a_type_of_which_nothing_can_be_read_is_a_problem(folder: Path) -> None:
    (folder / "a").chmod(0)
    (folder / "1.jpg").chmod(0)
    (folder / "2.jpg").chmod(0o200)
    other = folder.parent / "other"
    other.mkdir()
    code, (line, fine) = checked(
        folder, '[types.disk]\nsource = "disk"\n[types.other]\nsource = "disk"\n'
    )
    assert code == 1
    assert line.startswith("FAIL  type disk: ")
    assert f"of 3 files and folders the user {USER} cannot read 3, as {folder}/" in line
    assert fine == f"ok    type other: source disk, folder {other}"


def test_originals_that_were_fetched_are_looked_at_too(folder: Path) -> None:
    (folder / "1.jpg").chmod(0)
    code, (line,) = checked(
        folder, '[types.disk]\nsource = "web"\nurl = "https://upstream.invalid/{name}"\n'
    )
    assert code == 0
    assert re.match(rf"WARN  type disk: source web, .* cannot read 1, as {folder}/1.jpg: ", line)


def test_the_search_ends_at_a_number_of_entries(folder: Path) -> None:
    survey = find_unreadable(folder, max_entries=6)
    assert (survey.entries, survey.is_complete) == (6, True)
    survey = find_unreadable(folder, max_entries=5)
    assert (survey.entries, survey.is_complete) == (5, False)


def test_the_search_ends_at_a_time(folder: Path) -> None:
    times = iter([0.0, 1.0, 2.0, 3.0, 4.0])
    survey = find_unreadable(folder, seconds=3.0, clock=lambda: next(times))
    assert (survey.entries, survey.is_complete) == (2, False)


def test_a_folder_that_is_not_there_has_nothing_unreadable(tmp_path: Path) -> None:
    survey = find_unreadable(tmp_path / "none")
    assert (survey.entries, survey.failures, survey.is_complete) == (0, 0, True)


def test_failures_are_grouped_by_their_errno(folder: Path) -> None:
    survey = find_unreadable(folder)
    survey.add(folder / "1.jpg", OSError(errno.EIO, "broken"))
    survey.add(folder / "2.jpg", OSError(errno.EIO, "broken"))
    survey.add(folder / "a", OSError(errno.EACCES, "closed"))
    survey.add(folder / "b", OSError(errno.ENOENT, "removed meanwhile"))
    assert survey.failures == 3
    assert {
        number: (found.number, found.example) for number, found in survey.unreadable.items()
    } == {
        errno.EIO: (2, folder / "1.jpg"),
        errno.EACCES: (1, folder / "a"),
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_other_types_are_served_while_the_folder_of_one_is_closed(
    tmp_path: Path, workers: int
) -> None:
    closed = tmp_path / "source" / "closed"
    closed.mkdir(parents=True)
    (closed / "1.jpg").write_bytes(picture())
    closed.chmod(0)
    types = '[types.closed]\nsource = "disk"'
    program = (*unprivileged(), sys.executable, "-m", "iiif_server")
    arguments = ["--workers", str(workers)]
    try:
        with (
            running_server(tmp_path, types, program=program, arguments=arguments) as server,
            httpx.Client(base_url=server.url, trust_env=False, verify=TRUST, timeout=120) as client,
        ):
            (server.source / "1.jpg").write_bytes(picture())
            for _ in range(4):  # whichever process answers
                image = client.get("/pictures:1.jpg/full/50,/0/default.jpg")
                assert (image.status_code, image.headers["content-type"]) == (200, "image/jpeg")
                refused = client.get("/closed:1.jpg/info.json")
                assert refused.status_code == 502
                assert str(tmp_path) not in refused.text
                ready = client.get("/health/ready")
                assert ready.status_code == 503
                assert "originals of 1 of 2 types cannot be read" in ready.text
                assert client.get("/health").status_code == 200
            log = server.log.read_text()
    finally:
        closed.chmod(0o755)
    user = pwd.getpwuid(os.geteuid()).pw_name
    assert f"type closed: the user {user} cannot read the folder {closed}: change its" in log
    assert "type pictures: " not in log
    assert "Traceback" not in log
