"""`iiif-server locate`: the steps in which a source finds an original."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import click

from iiif_server.commands.common import ReadSettings, fail, settings_options
from iiif_server.composition.components import open_fetcher, open_sources
from iiif_server.errors import ConfigurationError, IiifServerError
from iiif_server.iiif.identifier import split_page
from iiif_server.images.originals import Originals
from iiif_server.settings import Settings
from iiif_server.sources.base import Source, Step
from iiif_server.telemetry.events import Event, Problem
from iiif_server.units import show_size


@click.command()
@settings_options
@click.argument("identifier")
def locate(read: ReadSettings, identifier: str) -> None:
    """Show where the original of an identifier is looked for, step by step.

    The identifier is written as in a URL. An original on another server is fetched and stored, as
    for a request. Exits with 1 if there is no original.
    """
    try:
        asyncio.run(_locate(read().settings, identifier))
    except (ConfigurationError, IiifServerError) as error:
        fail(f"Not found: {error}")


async def _locate(settings: Settings, written: str) -> None:
    identifier = settings.identifiers.read(written)
    _show("identifier", str(identifier))
    async with AsyncExitStack() as stack:
        fetcher = open_fetcher(stack, settings)
        originals = Originals(open_sources(stack, settings, fetcher, _show_problem), _show_problem)
        source = originals.source(identifier.type)
        _show("type", f"{identifier.type}, source {source.options.source}")
        _show("name", identifier.name)
        async for step in _steps(source, identifier.name):
            _show("found" if step.found else "tried", f"{step.place}: {step.result}")
        async with originals.hold(identifier) as original:
            size = show_size(original.file.size)
            _show("original", f"{original.file.path}, {size}")


async def _steps(source: Source[Any], name: str) -> AsyncIterator[Step]:
    """Yield the steps for the whole name, then the steps for `name;page` if it may be one."""
    for step in await source.steps(name):
        yield step
        if step.found:
            return
    whole, page = split_page(name)
    if page is not None:
        yield Step(whole, f"page {page} of this name")
        for step in await source.steps(whole, page):
            yield step


def _show(label: str, text: str) -> None:
    click.echo(f"{label:10}  {text}")


def _show_problem(event: Event) -> None:
    """Print a problem that a server would log."""
    if isinstance(event, Problem):
        _show("problem", str(event))
