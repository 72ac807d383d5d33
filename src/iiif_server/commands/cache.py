"""`iiif-server cache`: size and purge of the store of derivatives."""

import asyncio

import click

from iiif_server.commands.common import ReadSettings, fail, settings_options, show_progress
from iiif_server.composition.components import open_store
from iiif_server.composition.sharing import open_bucket, open_shared_purges
from iiif_server.errors import IiifServerError
from iiif_server.images.keys import group_of


@click.group()
def cache() -> None:
    """Show the size of the cache of derivatives, or empty it."""


@cache.command()
@settings_options
def stats(read: ReadSettings) -> None:
    """Print the number and size of stored derivatives, and the limit."""
    settings = read().settings
    files, size = open_store(settings, lambda _: None).usage()
    bound = settings.cache.max_bytes
    share = size / bound if bound else float(size > 0)
    derivatives = f"{files:,} derivative{'' if files == 1 else 's'}"
    click.echo(f"{derivatives}, {size:,} bytes ({share:.1%} of {bound:,})")


@cache.command()
@settings_options
@click.option("--identifier", help="Remove the derivatives of this original only (type:name).")
def purge(read: ReadSettings, identifier: str | None) -> None:
    """Remove derivatives. Originals stay; the server renders derivatives again on request."""
    settings = read().settings
    store = open_store(settings, lambda _: None)
    group = None
    if identifier is not None:
        try:
            group = group_of(settings.identifiers.read(identifier))
        except IiifServerError as error:
            fail(str(error))
    paths = store.paths(group)
    with show_progress("Removing derivatives", len(paths)) as advance:
        for path in paths:
            store.remove(path)
            advance()
    store.mark_purged()
    if settings.cache.shared is not None:
        try:
            bucket = open_bucket(settings, settings.cache.shared, lambda _: None)
            purges = open_shared_purges(settings, bucket, lambda _: None)
            asyncio.run(purges.purge(None if group is None else [group]))
        except IiifServerError as error:
            reason = getattr(error, "reason", "") or error
            text = f"Removed here, and not yet in the shared cache: {reason}."
            fail(f"{text} A server with this cache_path repeats it; or repeat the command.")
    click.echo(f"{len(paths)} derivative{'' if len(paths) == 1 else 's'} removed.")
