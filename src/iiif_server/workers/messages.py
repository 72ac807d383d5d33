"""Messages between the server and its worker processes: MessagePack, plain data in both directions.

A message is a frame: its length in four bytes, then its content. Functions go by name, descriptors
beside the frame (SCM_RIGHTS). What a worker sends is decoded by the type that the called function
declares, and everything else is refused: a worker that a hostile file has taken over can send
wrong data, but nothing that acts in the server.
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
"""Of the length in front of each message, the most significant byte first."""
MOST_DESCRIPTORS = 8
"""Open files that one job is given at most."""

ERRORS_OF_JOBS = (
    errors.OriginalRefusedError,
    errors.PageNotFoundError,
    errors.OriginalChangedError,
    errors.RenderFailedError,
)
"""The part of the error tree that jobs may raise; their texts are shown to users."""
_TEXT = 4_000
"""Characters of a text or a traceback that are sent."""

Plain = None | bool | int | float | str


class MessageError(Exception):
    """What came is no message that may come."""


NIL = Raw(b"\xc0")


class Failure(Struct, array_like=True, frozen=True):
    """An exception as data."""

    name: str
    """Module and class, separated by a colon."""
    arguments: tuple[Plain, ...]
    text: str
    traceback: str
    refusal: "Failure | None" = None
    """Of a NotKeptError: what the disk said."""


class Start(Struct, array_like=True, frozen=True):
    """The first message to a worker: how it is set up."""

    function: str
    arguments: tuple[Raw, ...]
    confinement: Confinement | None


class Ready(Struct, array_like=True, frozen=True):
    """The first message of a worker: what it reports of itself."""

    pid: int
    sandbox_status: SandboxStatus
    problems: tuple[str, ...]
    """Why a part of the sandbox is missing, if one is."""
    result: Raw
    """What the set-up function returned."""


class Job(Struct, array_like=True, frozen=True):
    """A function to be called."""

    function: str
    arguments: tuple[Raw, ...]
    keywords: dict[str, Raw]
    descriptors: int = 0
    """How many descriptors come with the message; they are the last positional arguments."""


class Answer(Struct, array_like=True, frozen=True):
    """What became of a job."""

    result: Raw = NIL
    """Of no meaning if there was a failure."""
    failure: Failure | None = None
    stale: bool = False
    """Whether the job was not begun, because a folder that it needs was replaced."""
    memory: int = 0
    """Bytes that the worker holds on to for itself; 0: it cannot tell."""


@dataclass(frozen=True, slots=True)
class Call:
    """A job ready to be sent, and the type of its result."""

    function: str
    content: bytes
    result: Any
    """What the function declares to return."""


def framed(content: bytes) -> bytes:
    """The frame of a message."""
    return len(content).to_bytes(HEADER_BYTES, "big") + content


def call(
    function: Callable[..., Any], *arguments: Any, descriptors: int = 0, **keywords: Any
) -> Call:
    """The message that calls a function of a module, a WorkerFunction, or a `partial` of either.

    Raises TypeError for other callables and for arguments that are no plain data.
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
    return Call(job.function, encode(job), result_of(function))


def name_of(function: Callable[..., Any]) -> str:
    """The name by which a worker finds a function; TypeError unless it is one of a module."""
    if isinstance(function, WorkerFunction):
        return function.name
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    if module == "__main__" or getattr(sys.modules.get(module), name, None) is not function:
        raise TypeError(f"{function!r} is not a function of a module, so no worker can find it")
    return f"{module}:{name}"


def result_of(function: Callable[..., Any]) -> Any:
    """The type that a function declares to return."""
    if isinstance(function, WorkerFunction):
        return function.result
    return signature(function).get("return", Any)


def find(name: str) -> Callable[..., Any]:
    """The function of a name; MessageError unless the module that is named defines it."""
    module, _, function = name.partition(":")
    found = getattr(importlib.import_module(module), function, None)
    if not inspect.isfunction(found) or found.__module__ != module:
        raise MessageError(f"{name} is not a function of that module")
    return found


@cache
def signature(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of a function's parameters in their order, and of its result under `return`."""
    hints = {
        name: Any if hint is object else hint for name, hint in get_type_hints(function).items()
    }
    names = [*inspect.signature(function).parameters, "return"]
    return {name: hints.get(name, Any) for name in names if name != "return" or name in hints}


def encode(value: object) -> bytes:
    """Plain data, dataclasses, enums and paths as bytes; TypeError for anything else."""
    return _encoder.encode(value)


def decode_other(type_: Any, value: Any) -> Any:
    """A value of a type that MessagePack does not have, from what `encode` made of it."""
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
    """The value of a type; MessageError for anything else."""
    try:
        return _decoder(type_, other).decode(content)
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MessageError(str(error)) from error


def describe(error: BaseException) -> Failure:
    """An exception as data."""
    refusal = getattr(error, "refusal", None)
    known = isinstance(error, errors.IiifServerError)
    lines = [] if known else traceback.format_exception(error)
    return Failure(
        f"{type(error).__module__}:{type(error).__qualname__}",
        tuple(map(_plain, error.args)),
        _text(str(error)),
        _text("".join(lines)[-_TEXT:]),
        describe(refusal) if isinstance(refusal, OSError) else None,
    )


def restore(failure: Failure) -> Exception:
    """The exception that a worker described: one that jobs may raise, or a WorkerFailedError."""
    module, _, name = failure.name.partition(":")
    found = getattr({errors.__name__: errors, "builtins": builtins}.get(module), name, None)
    error: Exception
    if isinstance(found, type) and issubclass(found, ERRORS_OF_JOBS):
        error = found.__new__(found)
        error.args = failure.arguments
        if isinstance(error, errors.NotKeptError):
            refusal = restore(failure.refusal) if failure.refusal is not None else None
            error.refusal = refusal if isinstance(refusal, OSError) else None
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
    """What MessagePack has no type for, in one that it has."""
    if isinstance(value, os.PathLike):
        return os.fsencode(value)  # names of files are bytes, whatever they were meant to say
    if isinstance(value, OSError):
        return (value.errno or 0, value.strerror or "")
    if isinstance(value, int):  # of a class of its own, such as pydantic's ByteSize
        return int(value)
    if isinstance(value, str):
        return str(value)
    if hasattr(value, "model_dump"):  # options are pydantic's, which workers do not need to know
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
