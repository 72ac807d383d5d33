"""What is taken for a result of a worker, and what is not."""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from iiif_server.errors import DamagedOriginalError
from iiif_server.image_api.formats import Format
from iiif_server.image_api.geometry import Box, Dimensions
from iiif_server.imaging.plan import Engine
from iiif_server.imaging.render import Rendered
from iiif_server.workers.answers import read_answer


class Calls:
    """What is pickled as the call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"bytes",
        {"a": [1, 2.5, (True, "text")]},
        frozenset({1, 2}),
        Path("/a/b"),
        Format.JPG,
        (Format.PNG, Format.WEBP),
        Box(1, 2, 3, 4),
        Dimensions(5, 6),
        Rendered(Engine.RASTER, b"data", None, 4, {"open": 0.5}),
    ],
    ids=repr,
)
def test_plain_values_and_our_own_records_are_results(value: object) -> None:
    assert read_answer(pickle.dumps(value, pickle.HIGHEST_PROTOCOL)) == value


@pytest.mark.parametrize(
    "error",
    [DamagedOriginalError("It is."), OSError(28, "full"), MemoryError(), KeyError("key")],
    ids=repr,
)
def test_errors_are_results(error: Exception) -> None:
    read = read_answer(pickle.dumps(error))
    assert (type(read), read.args) == (type(error), error.args)


@pytest.mark.parametrize(
    "trojan",
    [
        Calls(os.mkdir, "/nowhere/at/all"),
        Calls(eval, "1"),
        Calls(getattr, "text", "upper"),
        Calls(open, os.devnull),
        Calls(io.FileIO, os.devnull),
        Calls(Path.touch, Path("/nowhere/at/all")),
        Calls(pickle.loads, b"N."),
        Calls(SystemExit, 1),
        Calls(type, "New", (), {}),
        os.system,
    ],
    ids=lambda trojan: getattr(trojan, "call", (trojan,))[0].__name__,
)
def test_nothing_is_called_and_nothing_looked_up(trojan: object) -> None:
    with pytest.raises(pickle.UnpicklingError, match="no part of a result"):
        read_answer(pickle.dumps(trojan))


def test_nothing_is_imported() -> None:
    with pytest.raises(pickle.UnpicklingError, match="no part of a result"):
        read_answer(b"cantigravity\nfly\n.")
