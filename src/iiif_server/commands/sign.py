"""`iiif-server sign`: prints a signed URL."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack

import click

from iiif_server.commands.common import (
    ReadSettings,
    check_type,
    fail,
    local_url,
    settings_options,
    version_option,
)
from iiif_server.composition.components import open_fetcher, open_sources
from iiif_server.errors import IiifServerError
from iiif_server.iiif.identifier import Identifier
from iiif_server.iiif.request import parse_whole_request
from iiif_server.iiif.versions import ImageApiVersion
from iiif_server.images.originals import Originals
from iiif_server.server.addresses import with_version
from iiif_server.server.signing import ExactRequest, Signatures
from iiif_server.settings import Settings
from iiif_server.units import DURATION, parse_duration


def _lifetime(_: click.Context, __: click.Parameter, text: str) -> int:
    """Parse the option `--expires-in` to seconds, at least 1."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not isinstance(seconds, int) or seconds < 1:
        raise click.BadParameter(f"must be {DURATION.expected}")
    return seconds


@click.command()
@settings_options
@click.option(
    "--expires-in",
    "lifetime",
    default="1 hour",
    show_default=True,
    callback=_lifetime,
    help='Time for which the URL works, as "90 s", "12 h" or "30 days"; seconds without a unit.',
)
@click.option(
    "--request",
    "parameters",
    help="Sign this request only, as full/!400,400/0/default.jpg, and not the whole image.",
)
@version_option
@click.argument("identifier")
def sign(
    read: ReadSettings,
    lifetime: int,
    parameters: str | None,
    version: ImageApiVersion,
    identifier: str,
) -> None:
    """Print a signed URL that expires, of an image whose type has signed access.

    The URL is that of info.json, and its signature is valid for all requests of a viewer. With
    --request, the URL is that of one image request.
    """
    settings = read().settings
    if not settings.signing.keys:
        fail("There is no key to sign with: add [signing] keys.")
    try:
        named = settings.identifiers.read(identifier)
        if parameters is not None:
            parse_whole_request(parameters, version)
        for doubt in _doubts(settings, named):
            click.echo(f"Warning: {doubt}", err=True)
    except IiifServerError as error:
        fail(str(error))
    exact = ExactRequest(version.number, parameters) if parameters is not None else None
    signature = Signatures(settings.signing.secrets).sign(named, int(time.time()) + lifetime, exact)
    root = settings.root_path
    base = settings.base_url or f"{local_url(settings.http_host, settings.http_port)}{root}"
    base = with_version(base, root, version.path)
    click.echo(f"{base}/{signature}/{named.encoded}/{parameters or 'info.json'}")


def _doubts(settings: Settings, identifier: Identifier) -> Iterator[str]:
    """Yield reasons why the signed URL of an image may not work, without fetching originals.

    Raises UnknownTypeError for a type that is not configured.
    """
    check_type(settings, identifier.type)
    options = settings.types[identifier.type]
    if options.access == "public":
        yield f"the type {identifier.type!r} is public: its URLs need no signature."
    if options.access == "internal":
        yield f"the type {identifier.type!r} is internal: only lookups serve its images."
    if options.source == "disk":
        try:
            asyncio.run(_open(settings, identifier))
        except IiifServerError as error:
            yield f"the original of {identifier} cannot be opened: {error}"


async def _open(settings: Settings, identifier: Identifier) -> None:
    """Open and close an original; raises the errors of its source."""
    async with AsyncExitStack() as stack:
        sources = open_sources(stack, settings, open_fetcher(stack, settings), lambda _: None)
        await stack.enter_async_context(Originals(sources).hold(identifier))
