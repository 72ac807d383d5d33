"""Messages between server and workers: encoding, and rejected content."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import ByteSize

from iiif_server.errors import (
    BusyError,
    DamagedOriginalError,
    MalformedParameterError,
    NotKeptError,
    TooMuchMemoryError,
    WorkerFailedError,
)
from iiif_server.iiif.formats import Format
from iiif_server.iiif.geometry import Box, Dimensions
from iiif_server.plan.encoding import EncodingOptions
from iiif_server.plan.jobs import Rendered
from iiif_server.plan.original_format import Bounds
from iiif_server.plan.render_plan import Engine
from iiif_server.workers import messages
from iiif_server.workers.messages import Failure, Job, MessageError
from support import jobs


class StrictText(str):
    """A text of a class of its own."""

    __slots__ = ()


class _Anything:
    """A class that nothing is decoded to."""


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        (None, None),
        (b"bytes", bytes),
        ({"a": [1, 2.5, True, "text", None]}, Any),
        (frozenset({1, 2}), frozenset[int]),
        (Path("/a/b"), Path),
        (Path(os.fsdecode(b"/a/\xff")), Path),
        ((Path("a"), 3), tuple[Path, int]),
        ((Format.PNG, Format.WEBP), tuple[Format, ...]),
        ({1: 0.5}, Mapping[int, float]),
        (Box(1, 2, 3, 4), Box),
        (Bounds(side=7), Bounds),
        (EncodingOptions(jpeg_quality=7), EncodingOptions),
        (ByteSize(7), int),  # as in settings
        (StrictText("text"), str),
        (Rendered(Engine.RASTER, b"data", None, 4, {"open": 0.5}), Rendered),
    ],
    ids=lambda value: type(value).__name__,
)
def test_plain_data_comes_back_as_it_was(value: object, type_: Any) -> None:
    assert messages.decode(messages.encode(value), type_) == value


@pytest.mark.parametrize(
    "value",
    [lambda: None, object(), os.mkdir, Path, 1j, b"".join],
    ids=["function", "object", "builtin", "class", "complex", "method"],
)
def test_what_is_no_plain_data_is_not_sent(value: object) -> None:
    with pytest.raises(TypeError, match="no plain data"):
        messages.encode(value)


@pytest.mark.parametrize(
    ("content", "type_"),
    [
        (b"", int),
        (b"\xc1", Any),  # a byte that is never used
        (b"\xc0", int),
        (b"\xa1x", int),
        (b"\x01\x01", int),
        (b"\xdb\xff\xff\xff\xffx", str),  # a text of four gigabytes
        (b"\xdd\xff\xff\xff\xff", list[int]),
        (b"\x91" * 100_000, Any),
        (msgspec.msgpack.encode("exe"), Format),
        (msgspec.msgpack.encode({"width": 1}), Dimensions),
        (msgspec.msgpack.encode({"width": "1", "height": 1}), Dimensions),
        (msgspec.msgpack.encode([1]), Path),
        (msgspec.msgpack.encode("text"), OSError),
        (msgspec.msgpack.encode({"jpeg_quality": 1000}), EncodingOptions),
        (msgspec.msgpack.encode(msgspec.msgpack.Ext(1, b"x")), int),
        (msgspec.msgpack.encode("x"), _Anything),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, bytes) else "",
)
def test_anything_but_the_type_that_is_expected_is_refused(content: bytes, type_: Any) -> None:
    with pytest.raises(MessageError):
        messages.decode(content, type_)


# --- functions ------------------------------------------------------------------------------


def test_functions_go_by_name_and_partials_by_their_function() -> None:
    call = messages.call(partial(jobs.echo_pair), ("a", 1))
    job: Job = messages.decode(call.content, Job)
    assert (job.function, job.keywords, job.descriptors) == ("support.jobs:echo_pair", {}, 0)
    assert messages.function_of(job.function) is jobs.echo_pair
    assert call.result == tuple[str, int]
    assert messages.decode(job.arguments[0], tuple[str, int]) == ("a", 1)
    waiting: Job = messages.decode(
        messages.call(partial(jobs.wait_for, seconds=2.0), Path("a")).content, Job
    )
    assert messages.decode(waiting.keywords["seconds"], float) == 2.0


class _Thing:
    def method(self) -> None:
        """Be no function of a module."""


@pytest.mark.parametrize(
    "function",
    [lambda: None, _Thing().method, _Thing.method, partial(lambda: None)],
    ids=["lambda", "method", "function of a class", "partial of a lambda"],
)
def test_only_functions_of_modules_are_called(function: Any) -> None:
    with pytest.raises(TypeError, match="not a function of a module"):
        messages.call(function)


@pytest.mark.parametrize(
    "name",
    [
        "os:system",  # not written in Python
        "pathlib:Path",
        "support.jobs:Path",
        "support.jobs:wait",
        "support.jobs:",
        "support.jobs",
        "support.jobs:echo.__call__",
        "iiif_server.workers.process:sys",
        "tests.support.jobs.importlib:import_module",
    ],
)
def test_a_name_is_found_only_where_it_is_defined(name: str) -> None:
    with pytest.raises((MessageError, ImportError)):
        messages.function_of(name)


# --- exceptions -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        DamagedOriginalError("It is."),
        TooMuchMemoryError("Too much."),
        OSError(28, "full"),
        FileNotFoundError(2, "gone"),
        MemoryError(),
        KeyError("key"),
        TimeoutError("late"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_that_jobs_may_raise_come_back_as_they_were(error: Exception) -> None:
    found = messages.exception_of(_sent(error))
    assert (type(found), found.args) == (type(error), error.args)
    assert getattr(found, "errno", None) == getattr(error, "errno", None)


def test_what_the_disk_said_comes_with_what_could_not_be_kept() -> None:
    found = messages.exception_of(_sent(NotKeptError("Not kept.", OSError(28, "full"))))
    assert isinstance(found, NotKeptError)
    assert isinstance(found.disk_error, OSError)
    assert found.disk_error.errno == 28


@pytest.mark.parametrize(
    "error",
    [
        jobs.OddError("odd", 7),
        MalformedParameterError("size", "x", "y"),  # of the server's own, with attributes
        BusyError("busy"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "bytes are not sent"),
        SystemExit(3),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_all_other_errors_are_only_told_of(error: BaseException) -> None:
    found = messages.exception_of(_sent(error))
    assert isinstance(found, WorkerFailedError)
    assert str(found) == "The image could not be rendered."
    assert type(error).__name__ in found.reason


@pytest.mark.parametrize(
    "name", ["builtins:eval", "builtins:type", "os:mkdir", "builtins:BaseException", "", "a:b:c"]
)
def test_no_name_that_a_worker_sends_is_called(name: str) -> None:
    found = messages.exception_of(Failure(name, ("raise SystemExit",), "text", ""))
    assert isinstance(found, WorkerFailedError)


def test_texts_are_bounded_and_can_always_be_sent() -> None:
    failure = _sent(DamagedOriginalError("x" * 100_000 + "\udcff"))
    assert len(str(failure.arguments[0])) <= 4_000
    assert _sent(DamagedOriginalError("\udcff")).arguments == ("\\udcff",)
    assert _sent(ValueError(1 << 70, object)).arguments == (str(1 << 70), repr(object))


def _sent(error: BaseException) -> Failure:
    failure: Failure = messages.decode(messages.encode(messages.failure_of(error)), Failure)
    return failure
