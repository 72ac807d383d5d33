"""Messages between the server and its worker processes: plain data in MessagePack.

A message is a frame: its length in four bytes, then its content. Functions are sent as names, and
descriptors beside the frame (SCM_RIGHTS). The server decodes results by the return type of the
called function, and refuses everything else. A worker that a hostile file has taken over can send
wrong data, but no code to the server.
"""

import builtins
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
from msgspec import Raw, Struct

from iiif_server import errors
from iiif_server.plan.jobs import WorkerFunction
from iiif_server.workers.sandbox.confinement import Confinement, SandboxStatus

HEADER_BYTES = 4
"""Bytes of the length before each message, with the most significant byte first."""
MAX_DESCRIPTORS = 8
"""Maximum descriptors of one job."""

ERRORS_OF_JOBS = (
    errors.OriginalRefusedError,
    errors.PageNotFoundError,
    errors.OriginalChangedError,
    errors.RenderFailedError,
)
"""Errors that jobs may raise; clients see their messages."""
_TEXT = 4_000
"""Maximum characters of a text or traceback in a message."""

Plain = None | bool | int | float | str


class MessageError(Exception):
    """A received message is malformed, or of another type than expected."""


NIL = Raw(b"\xc0")


class Failure(Struct, array_like=True, frozen=True):
    """Exception as data."""

    name: str
    """Module and class of the exception, separated by a colon."""
    arguments: tuple[Plain, ...]
    text: str
    traceback: str
    disk_error: "Failure | None" = None
    """OSError of the disk, for a NotKeptError."""


class Start(Struct, array_like=True, frozen=True):
    """First message to a worker: its set-up function and its sandbox."""

    function: str
    arguments: tuple[Raw, ...]
    confinement: Confinement | None


class Ready(Struct, array_like=True, frozen=True):
    """First message of a worker: its process id, its sandbox, and the result of its set-up."""

    pid: int
    sandbox_status: SandboxStatus
    problems: tuple[str, ...]
    """Reasons why parts of the sandbox are missing."""
    result: Raw
    """Result of the set-up function."""


class Job(Struct, array_like=True, frozen=True):
    """Message with a function to call, and its arguments."""

    function: str
    arguments: tuple[Raw, ...]
    keywords: dict[str, Raw]
    descriptors: int = 0
    """Number of descriptors with the message, which are the last positional arguments."""


class Answer(Struct, array_like=True, frozen=True):
    """Result message of a job."""

    result: Raw = NIL
    """Encoded result of the function, unless there is a failure."""
    failure: Failure | None = None
    stale: bool = False
    """Whether the job was not begun, because a folder that it needs was replaced."""
    memory: int = 0
    """Private memory of the worker in bytes; 0: unknown."""


@dataclass(frozen=True, slots=True)
class Call:
    """Encoded job, and the type of its result."""

    function: str
    content: bytes
    result: Any
    """Declared return type of the function."""


def framed(content: bytes) -> bytes:
    """Frame of a message."""
    return len(content).to_bytes(HEADER_BYTES, "big") + content


def call(
    function: Callable[..., Any], *arguments: Any, descriptors: int = 0, **keywords: Any
) -> Call:
    """Encode the call of a function of a module, a WorkerFunction, or a `partial` of either.

    Raises TypeError for other callables, and for arguments that are not plain data.
    """
    while isinstance(function, partial):
        arguments = (*function.args, *arguments)
        keywords = {**function.keywords, **keywords}
        function = function.func
    job = Job(
        name_of(function),
        tuple(Raw(encode(argument)) for argument in arguments),
        {name: Raw(encode(value)) for name, value in keywords.items()},
        descriptors,
    )
    return Call(job.function, encode(job), return_type_of(function))


def name_of(function: Callable[..., Any]) -> str:
    """Name `module:function` for a worker; TypeError unless it is a function of a module."""
    if isinstance(function, WorkerFunction):
        return function.name
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    if module == "__main__" or getattr(sys.modules.get(module), name, None) is not function:
        raise TypeError(f"{function!r} is not a function of a module, so no worker can find it")
    return f"{module}:{name}"


def return_type_of(function: Callable[..., Any]) -> Any:
    """Declared return type of a function; Any without a declaration."""
    if isinstance(function, WorkerFunction):
        return function.result
    return signature(function).get("return", Any)


def function_of(name: str) -> Callable[..., Any]:
    """Function with a name `module:function`; MessageError unless that module defines it."""
    module, _, function = name.partition(":")
    found = getattr(importlib.import_module(module), function, None)
    if not inspect.isfunction(found) or found.__module__ != module:
        raise MessageError(f"{name} is not a function of that module")
    return found


@cache
def signature(function: Callable[..., Any]) -> dict[str, Any]:
    """Types of the parameters of a function, in order, and of its result as `return`."""
    hints = {
        name: Any if hint is object else hint for name, hint in get_type_hints(function).items()
    }
    names = [*inspect.signature(function).parameters, "return"]
    return {name: hints.get(name, Any) for name in names if name != "return" or name in hints}


def encode(value: object) -> bytes:
    """Encode plain data, dataclasses, enums or paths; TypeError for anything else."""
    return _encoder.encode(value)


def decode_other(type_: Any, value: Any) -> Any:
    """Decode a value of a type that MessagePack does not have, as `encode` has encoded it."""
    if issubclass(type_, Path):
        return type_(os.fsdecode(value))
    if issubclass(type_, OSError):
        number, text = value
        return type_(int(number), str(text))
    if hasattr(type_, "model_validate"):
        return type_.model_validate(value)
    raise TypeError(f"a {type_.__name__} cannot be received")


def decode(
    content: bytes | memoryview | Raw,
    type_: Any,
    other: Callable[[Any, Any], Any] = decode_other,
) -> Any:
    """Decode a value of a type; MessageError for anything else."""
    try:
        return _decoder(type_, other).decode(content)
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MessageError(str(error)) from error


def failure_of(error: BaseException) -> Failure:
    """Convert an exception to data."""
    disk_error = getattr(error, "disk_error", None)
    known = isinstance(error, errors.IiifServerError)
    lines = [] if known else traceback.format_exception(error)
    return Failure(
        f"{type(error).__module__}:{type(error).__qualname__}",
        tuple(map(_plain, error.args)),
        _text(str(error)),
        _text("".join(lines)[-_TEXT:]),
        failure_of(disk_error) if isinstance(disk_error, OSError) else None,
    )


def exception_of(failure: Failure) -> Exception:
    """Exception of a Failure: one of ERRORS_OF_JOBS, a built-in one, or WorkerFailedError."""
    module, _, name = failure.name.partition(":")
    found = getattr({errors.__name__: errors, "builtins": builtins}.get(module), name, None)
    error: Exception
    if isinstance(found, type) and issubclass(found, ERRORS_OF_JOBS):
        error = found.__new__(found)
        error.args = failure.arguments
        if isinstance(error, errors.NotKeptError):
            disk_error = (
                exception_of(failure.disk_error) if failure.disk_error is not None else None
            )
            error.disk_error = disk_error if isinstance(disk_error, OSError) else None
        return error
    if isinstance(found, type) and issubclass(found, Exception) and module == "builtins":
        error = _builtin(found, failure)
    else:
        error = errors.WorkerFailedError(f"{failure.name}: {failure.text}")
    error.add_note(failure.traceback)
    return error


def _builtin(found: type[Exception], failure: Failure) -> Exception:
    try:
        return found(*failure.arguments)
    except (TypeError, ValueError):
        return errors.WorkerFailedError(f"{failure.name}: {failure.text}")


def _encode_other(value: object) -> object:
    """Convert a value of another type to one that MessagePack has."""
    if isinstance(value, os.PathLike):
        return os.fsencode(value)  # file names are bytes, and need not be valid UTF-8
    if isinstance(value, OSError):
        return (value.errno or 0, value.strerror or "")
    if isinstance(value, int):  # a subclass, such as ByteSize of pydantic
        return int(value)
    if isinstance(value, str):
        return str(value)
    if hasattr(value, "model_dump"):  # a pydantic model, as options are
        return value.model_dump()
    raise TypeError(f"a {type(value).__name__} is no plain data, so it cannot be sent")


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_other)


@cache
def _decoder(type_: Any, other: Callable[[Any, Any], Any]) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(type_, dec_hook=other)


def _plain(value: object) -> Plain:
    if isinstance(value, str):
        return _text(value)
    small = not isinstance(value, int) or value.bit_length() < 64  # noqa: PLR2004 - of MessagePack
    return value if small and isinstance(value, bool | int | float | None) else repr(value)


def _text(text: str) -> str:
    return text[:_TEXT].encode(errors="backslashreplace").decode()
