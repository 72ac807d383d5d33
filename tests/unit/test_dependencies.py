"""What is imported is declared, and private names of other packages are still there."""

import ast
import asyncio
import inspect
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from iiif_server.server import protocol
from iiif_server.sources import fetching, guard

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOT_IMPORTED = {
    "httptools": "uvicorn's parser, which protocol.py builds on",
    "uvloop": "uvicorn's event loop",
    "jpegtran-cffi-wheels": "has the TurboJPEG library in it",
}


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=;~! ]", text, maxsplit=1)[0] for text in requirements}


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module
            case ast.Call(
                func=ast.Name(id="import_module"), args=[ast.Constant(value=str(module))]
            ):
                yield module


def _imported() -> dict[str, set[str]]:
    """The distributions that may have brought each foreign module that the server imports."""
    known = packages_distributions()
    modules = {
        module.partition(".")[0]
        for path in (ROOT / "src").rglob("*.py")
        for module in _imports(ast.parse(path.read_text()))
    }
    foreign = modules - sys.stdlib_module_names - {"iiif_server", "compression"}  # Python 3.14
    # One that this platform lacks counts by the name that its distribution is likely to have.
    return {
        module: {name.lower().replace("_", "-") for name in known.get(module, [module])}
        for module in foreign
    }


DECLARED = _names(PROJECT["dependencies"])
OPTIONAL = {name for extra in PROJECT["optional-dependencies"].values() for name in _names(extra)}


def test_everything_imported_is_declared() -> None:
    missing = {
        module: distributions
        for module, distributions in _imported().items()
        if not distributions & (DECLARED | OPTIONAL)
    }
    assert not missing


def test_everything_declared_is_imported() -> None:
    used = set[str]().union(*_imported().values())
    assert DECLARED - used == set(NOT_IMPORTED) & DECLARED - used
    assert not DECLARED - used - set(NOT_IMPORTED)


def test_no_extra_brings_tools_for_developers_into_production() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"^(watchfiles|websockets|hypothesis|pytest|ruff)==", lock, re.MULTILINE)


@pytest.mark.parametrize("package", ["httpcore", "httpx", "uvicorn"])
def test_a_package_whose_private_names_are_used_has_an_upper_bound(package: str) -> None:
    (requirement,) = (text for text in PROJECT["dependencies"] if _names([text]) == {package})
    assert "<" in requirement


def _attributes(tree: ast.AST, *objects: str) -> set[str]:
    """The attributes of objects with these names that code reads or sets."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in objects
    }


def _of_super(tree: ast.AST) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id == "super"
    }


def _protocol(kind: type[HttpToolsProtocol]) -> HttpToolsProtocol:
    config = uvicorn.Config(lambda: None, log_config=None)
    config.load()
    return kind(config, ServerState(), {}, asyncio.get_running_loop())


async def test_uvicorn_has_the_hooks_that_the_listener_overrides_and_uses() -> None:
    tree = ast.parse(inspect.getsource(protocol.Listener))
    base, derived = _protocol(HttpToolsProtocol), _protocol(protocol.Listener)
    own = set(vars(protocol.Listener)) | (set(vars(derived)) - set(vars(base)))
    used = _attributes(tree, "self") - own | _of_super(tree) - {"__init__"}
    assert {"_start_asgi_task", "limit_concurrency", "cycle", "flow", "transport"} <= used
    assert not {name for name in used if not hasattr(base, name)}


async def test_uvicorn_calls_the_hook_that_answers_directly() -> None:
    """Defining a method that nobody calls any more would pass the test above."""
    assert "self._start_asgi_task(" in inspect.getsource(HttpToolsProtocol.on_headers_complete)


def test_uvicorn_has_the_parts_of_a_request_that_the_listener_uses() -> None:
    tree = ast.parse(inspect.getsource(protocol.Listener))
    nothing: Any = None
    parameters = inspect.signature(RequestResponseCycle).parameters
    cycle = RequestResponseCycle(**dict.fromkeys(parameters, nothing))
    used = _attributes(tree, "cycle", "under_way")
    assert {"keep_alive", "response_complete", "on_response"} <= used
    assert not {name for name in used if not hasattr(cycle, name)}


def test_no_private_name_of_the_http_client_is_used() -> None:
    source = inspect.getsource(guard) + inspect.getsource(fetching)
    used = {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.endswith("__")
        and not (isinstance(node.value, ast.Name) and node.value.id == "self")
    }
    assert used == set()
    assert guard.GuardedTransport.__bases__ == (httpx.AsyncBaseTransport,)
