"""The bytes of originals themselves, as they are stored."""

from iiif_server.images.body import Body, body_of
from iiif_server.images.originals import Original
from iiif_server.plan.extents import Extent
from iiif_server.plan.local_file import removed, replaced
from iiif_server.sources.opening import OpenedFile


async def original_body(original: Original, extent: Extent | None = None) -> Body:
    """The bytes of an original that is held, or an extent of them.

    They are of the version whose header was read, or OriginalChangedError is raised; or what the
    source raises of which parts have to be brought.
    """
    if original.opened is None or original.threads is None:
        raise removed()
    if extent is None or original.parts is None:
        await original.bring_whole()
    else:
        await original.parts.bring([extent])
    return await original.threads.run(_read, original, original.opened, extent, undo=close)


def close(body: Body | None) -> None:
    """Close the file of a body that nobody takes."""
    if body is not None and body.file is not None:
        body.file.close()


def _read(original: Original, opened: OpenedFile, extent: Extent | None) -> Body:
    try:
        with opened.kept_open() as descriptor:
            body = body_of(descriptor, original.file.path, original.threads, extent)
            if original.file.version.is_of(descriptor):
                return body
    except OSError as error:
        raise removed() from error
    close(body)
    raise replaced()
