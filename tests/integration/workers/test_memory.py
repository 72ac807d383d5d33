"""How much memory there is, as the machine and its control groups say."""

from pathlib import Path

import pytest

from iiif_server.workers.memory import _bounds, memory_there_is


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("membership", "files", "bounds"),
    [
        ("0::/", {"memory.max": "1000\n"}, {1000}),
        ("0::/a/b", {"a/b/memory.max": "max\n", "a/memory.max": "500\n"}, {500}),
        ("0::/a/b", {"a/b/memory.max": "400\n", "a/memory.max": "500\n"}, {400, 500}),
        (
            "9:memory:/box\n1:name=systemd:/elsewhere",
            {"memory/box/memory.limit_in_bytes": "300\n"},
            {300},
        ),
        # a container that sees its own group as the root
        ("9:memory:/docker/1234", {"memory/memory.limit_in_bytes": "200\n"}, {200}),
        ("0::/", {}, set()),
    ],
)
def test_limits_of_control_groups_are_found(
    tmp_path: Path, membership: str, files: dict[str, str], bounds: set[int]
) -> None:
    write(tmp_path / "membership", membership)
    for name, text in files.items():
        write(tmp_path / "groups" / name, text)
    assert set(_bounds(tmp_path / "groups", tmp_path / "membership")) == bounds


def test_a_machine_without_control_groups_has_no_limits(tmp_path: Path) -> None:
    assert list(_bounds(tmp_path / "groups", tmp_path / "membership")) == []


def test_there_is_memory() -> None:
    assert memory_there_is() > 100_000_000
