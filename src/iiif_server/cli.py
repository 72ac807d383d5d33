"""The command line. Commands import what they need, so that worker processes need not."""

import asyncio
import os
import socket
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

import click
from rich.console import Console
from rich.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iiif_server.settings import Loaded, Settings

SAMPLE_TYPE = "sample"
SAMPLE_NAME = "atlas.jpg"

_config = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML or YAML file of settings; also IIIF_CONFIG.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="iiif-server")
def main() -> None:
    """A IIIF image server: any image performs like a prepared pyramid."""


@main.command()
@_config
@click.option("--host", help="Address to listen on, instead of http_host.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port, instead of http_port.")
@click.option(
    "--workers", type=click.IntRange(1, 256), help="Server processes, instead of http_processes."
)
@click.option("--sample", is_flag=True, help="Serve a sample image besides, made if need be.")
def serve(
    config: Path | None, host: str | None, port: int | None, workers: int | None, *, sample: bool
) -> None:
    """Serve images. Without any settings: a large sample image, made on the spot.

    On SIGHUP the settings are read again.
    """
    from iiif_server.commands import serve, supervision  # noqa: PLC0415
    from iiif_server.errors import ConfigurationError  # noqa: PLC0415

    if workers is not None:
        os.environ["IIIF_HTTP_PROCESSES"] = str(workers)  # also when settings are read again
    try:
        settings = _settings_to_serve(config, sample=sample)
        host, port = host or settings.http_host, settings.http_port if port is None else port
        sockets = supervision.bind(host, port, settings.http_processes)
    except ConfigurationError as error:
        _fail(str(error))
    serve.warn(_loaded(config))
    for line in _addresses(settings, host, sockets[0].getsockname()[1]):
        click.echo(line)
    if len(sockets) > 1:
        sys.exit(serve.supervise(sockets, config, settings, sample=sample))
    serve.run(sockets[0], lambda: _settings_to_serve(config, sample=sample))


@main.command(hidden=True)
@_config
@click.option("--sample", is_flag=True)
@click.argument("share")
@click.argument("descriptor", type=int)
@click.argument("supervisor", type=int)
def serve_share(
    config: Path | None, share: str, descriptor: int, supervisor: int, *, sample: bool
) -> None:
    """Serve as one of several processes (number/of) on an open socket, for a supervisor's id."""
    from iiif_server.commands import serve, supervision  # noqa: PLC0415
    from iiif_server.errors import ConfigurationError  # noqa: PLC0415

    supervision.become_supervised(supervisor)
    number, _, of = share.partition("/")
    try:
        serve.run(
            socket.socket(fileno=descriptor),
            lambda: _settings_to_serve(config, sample=sample),
            int(number),
            int(of),
        )
    except ConfigurationError as error:  # the file has changed since the others were started
        click.echo(str(error), err=True)
        sys.exit(supervision.CANNOT_START)


@main.command()
@_config
def check(config: Path | None) -> None:
    """Check settings, folders, sources, codecs and the sandbox; report problems and remedies.

    Exits with 1 if there is a problem. Changes nothing: missing folders are not created.
    """
    from iiif_server.commands.check import diagnose  # noqa: PLC0415

    findings = diagnose(_loaded(config))
    for finding in findings:
        click.echo(f"{finding.label:4}  {finding.subject}: {finding.text}")
    wrong = sum(not finding.fine for finding in findings)
    if wrong:
        _fail(f"{wrong} problem{'s' if wrong > 1 else ''} found.")
    click.echo("No problems found.")


@main.command()
def settings() -> None:
    """Print the reference of all settings, in Markdown."""
    from iiif_server.commands.settings_page import settings_page  # noqa: PLC0415

    click.echo(settings_page(), nl=False)


@main.command()
@_config
@click.option("--type", "type_", help="Prepare all originals of this type, if it can list them.")
@click.option(
    "--identifiers",
    "listed",
    type=click.File(),
    help="Prepare the identifiers in this file, one a line; - is standard input.",
)
@click.argument("identifiers", nargs=-1)
def prepare(
    config: Path | None, type_: str | None, listed: TextIO | None, identifiers: tuple[str, ...]
) -> None:
    """Make pyramids ahead of time, as the first viewer of each image would.

    What is there already is left alone, so that an interrupted run can be repeated.
    """
    from iiif_server.commands import prepare  # noqa: PLC0415
    from iiif_server.errors import IiifServerError  # noqa: PLC0415

    if sum((type_ is not None, listed is not None, bool(identifiers))) != 1:
        raise click.UsageError("Give identifiers, or --identifiers FILE, or --type NAME.")
    written = [*(listed or ()), *identifiers]
    try:
        summary = asyncio.run(
            prepare.prepare(
                _settings(config),
                type_,
                written,
                lambda total: _progress("Preparing originals", total),
            )
        )
    except IiifServerError as error:
        _fail(str(error))
    for failed in summary.failed:
        click.echo(f"failed  {failed.identifier}: {failed.reason}", err=True)
    click.echo(str(summary))
    if summary.failed:
        sys.exit(1)


@main.command()
@_config
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write to.",
)
@click.option("--base-url", help="URL under which that folder will be found; default: base_url.")
@click.option(
    "--version",
    type=click.Choice(["2.1", "3.0"]),
    default="3.0",
    show_default=True,
    help="Of the Image API.",
)
@click.option("--include-signed", is_flag=True, help="Also of signed types, open to everyone.")
@click.option("--type", "type_", help="Export all originals of this type, if it can list them.")
@click.option(
    "--identifiers",
    "listed",
    type=click.File(),
    help="Export the identifiers in this file, one a line; - is standard input.",
)
@click.argument("identifiers", nargs=-1)
def export(
    *,
    config: Path | None,
    folder: Path,
    base_url: str | None,
    version: str,
    include_signed: bool,
    type_: str | None,
    listed: TextIO | None,
    identifiers: tuple[str, ...],
) -> None:
    """Write images as files for any web server: tiles, sizes, info.json, a manifest, a viewer.

    What is there and whole is left alone, so that an interrupted run can be repeated.
    """
    from iiif_server.commands import export  # noqa: PLC0415
    from iiif_server.errors import IiifServerError  # noqa: PLC0415
    from iiif_server.iiif.versions import V2, V3  # noqa: PLC0415

    if sum((type_ is not None, listed is not None, bool(identifiers))) != 1:
        raise click.UsageError("Give identifiers, or --identifiers FILE, or --type NAME.")
    settings = _settings(config)
    base = base_url or settings.base_url
    if base is None or not base.startswith(("http://", "https://")):
        _fail("Say where the folder will be found: --base-url https://images.example.org/static")
    target = export.Target(folder, base.rstrip("/"), V2 if version == V2.number else V3)
    written = [*(listed or ()), *identifiers]
    try:
        summary = asyncio.run(
            export.export(settings, type_, written, target, _progress, signed=include_signed)
        )
    except IiifServerError as error:
        _fail(str(error))
    for failed in summary.failed:
        click.echo(f"failed  {failed.identifier}: {failed.reason}", err=True)
    if summary.without_page:
        click.echo(f"No viewer beside the images: {summary.without_page}", err=True)
    click.echo(str(summary))
    if summary.failed:
        sys.exit(1)


@main.command()
@click.argument(
    "sources",
    metavar="INPUT...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
)
@click.argument("target", metavar="OUTPUT", type=click.Path(path_type=Path))
@_config
@click.option(
    "--tile-size",
    type=click.IntRange(64, 4096),
    default=512,
    show_default=True,
    help="Side of the tiles, a multiple of 16.",
)
@click.option(
    "--quality", type=click.IntRange(1, 100), default=85, show_default=True, help="JPEG quality."
)
@click.option("--lossless", is_flag=True, help="Deflate the tiles, and keep transparency.")
@click.option("--force", is_flag=True, help="Replace existing files.")
def pyramid(
    sources: tuple[Path, ...],
    target: Path,
    config: Path | None,
    tile_size: int,
    quality: int,
    *,
    lossless: bool,
    force: bool,
) -> None:
    """Write pyramidal tiled TIFFs of images, for use elsewhere; this server needs none.

    OUTPUT is a file for one image. For several it is an existing folder, in which each file is
    named like its image, with the suffix .tif. Of the settings, only the limits are used. Images
    that fail are reported; the others are written, and the exit status is 1.
    """
    from iiif_server.codecs.pyramid_tiff import PyramidForm  # noqa: PLC0415
    from iiif_server.commands.pyramid import write_pyramid  # noqa: PLC0415
    from iiif_server.errors import IiifServerError  # noqa: PLC0415

    if tile_size % 16:
        raise click.BadParameter("must be a multiple of 16", param_hint="--tile-size")
    form = PyramidForm(tile_size, quality, lossless)
    limit = _settings(config).limits.max_source_pixels
    failed = False
    for source, output in _outputs(sources, target).items():
        problem = _problem_with(source, output, force=force)
        try:
            if not problem:
                with _progress("Writing the pyramid, percent", 100) as advance:
                    done = write_pyramid(source, output, form, limit, advance)
                click.echo(f"{output}: {done.width}x{done.height} pixels, {done.size:,} bytes")
        except IiifServerError as error:
            problem = f"{source}: {error}"
        if problem:
            failed = True
            click.echo(problem, err=True)
    if failed:
        sys.exit(1)


def _problem_with(source: Path, output: Path, *, force: bool) -> str:
    """Why a file must not be written; empty: it may be."""
    if not output.exists() or (force and not output.samefile(source)):
        return ""
    if output.samefile(source):
        return f"{output} is the image itself: choose another folder or name."
    return f"{output} exists already: remove it, or use --force."


def _outputs(sources: tuple[Path, ...], target: Path) -> dict[Path, Path]:
    """The file to write for each image; ends the program if two images have the same one."""
    if not target.is_dir():
        if len(sources) > 1:
            _fail(f"{target} must be an existing folder, because there are several images.")
        return {sources[0]: target}
    outputs = {source: target / f"{source.stem}.tif" for source in sources}
    if len(set(outputs.values())) < len(outputs):
        _fail("Two images have the same name without its suffix: write them one at a time.")
    return outputs


@main.command()
@_config
@click.option(
    "--expires-in",
    default="1 hour",
    show_default=True,
    help='Time for which the URL works, as "90 s", "12 h" or "30 days"; seconds without a unit.',
)
@click.option(
    "--request",
    "parameters",
    help="Sign this request only, as full/!400,400/0/default.jpg, and not the whole image.",
)
@click.option(
    "--version",
    type=click.Choice(["2.1", "3.0"]),
    default="3.0",
    show_default=True,
    help="Of the Image API.",
)
@click.argument("identifier")
def sign(
    config: Path | None, expires_in: str, parameters: str | None, version: str, identifier: str
) -> None:
    """Print a signed URL that expires, of an image whose type has signed access.

    The URL is that of info.json, and its signature holds for all requests of a viewer; with
    --request it is that of one image request.
    """
    from iiif_server.commands.check import doubts_about_signing  # noqa: PLC0415
    from iiif_server.errors import IiifServerError  # noqa: PLC0415
    from iiif_server.iiif.identifier import parse_identifier  # noqa: PLC0415
    from iiif_server.iiif.request import parse_whole_request  # noqa: PLC0415
    from iiif_server.iiif.versions import V2, V3  # noqa: PLC0415
    from iiif_server.server.addresses import with_version  # noqa: PLC0415
    from iiif_server.server.signing import ExactRequest, Signatures  # noqa: PLC0415

    lifetime = _whole_seconds(expires_in, "--expires-in")
    settings = _settings(config)
    if not settings.signing.keys:
        _fail("There is no key to sign with: add [signing] keys.")
    row = V2 if version == V2.number else V3
    try:
        named = parse_identifier(identifier, settings.default_type)
        if parameters is not None:
            parse_whole_request(parameters, row)
        doubts = doubts_about_signing(settings, named)
    except IiifServerError as error:
        _fail(str(error))
    for doubt in doubts:
        click.echo(f"Warning: {doubt}", err=True)
    exact = ExactRequest(row.number, parameters) if parameters is not None else None
    expires = int(time.time()) + lifetime
    signature = Signatures(settings.signing.secrets).sign(named, expires, exact)
    root = settings.root_path
    base = settings.base_url or f"{_base(settings.http_host, settings.http_port)}{root}"
    base = with_version(base, root, row.path)
    click.echo(f"{base}/{signature}/{named.encoded}/{parameters or 'info.json'}")


@main.command()
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write, as settings.toml; default: standard output.",
)
@click.option(
    "--from",
    "kind",
    type=click.Choice(["seed", "nhm", "cantaloupe", "loris"]),
    help="Whose configuration it is; default: its content tells.",
)
@click.option("--force", is_flag=True, help="Write over the file if it is there.")
def migrate(source: Path, target: Path | None, kind: str | None, *, force: bool) -> None:
    """Make settings of the configuration of another server.

    It may be that of the Natural History Museum's servers, Cantaloupe's or Loris's. What has no
    equivalent is listed, and which addresses would differ.
    """
    from iiif_server.commands.migrate import moving  # noqa: PLC0415
    from iiif_server.commands.migrate.moves import Kind  # noqa: PLC0415
    from iiif_server.errors import ConfigurationError  # noqa: PLC0415

    try:
        moved = moving.migrate(source, Kind(kind) if kind else None)
        if target is not None:
            moving.write(moved, target, force=force)
    except ConfigurationError as error:
        _fail(str(error))
    if target is None:
        click.echo(moved.settings, nl=False)
        click.echo(moved.report, err=True)
        return
    click.echo(moved.report)
    _settings(target)  # what cannot be is said now, and not when the server starts
    click.echo(f"\n{target} is written. Now: iiif-server check --config {target}")


@main.group()
def cache() -> None:
    """Look into the store of derivatives, or empty it."""


@cache.command()
@_config
def stats(config: Path | None) -> None:
    """Say how much is stored, and how much may be."""
    from iiif_server.composition import open_store  # noqa: PLC0415

    settings = _settings(config)
    files, size = open_store(settings, lambda _: None).usage()
    bound = settings.cache.max_bytes
    share = size / bound if bound else float(size > 0)
    click.echo(f"{files} derivatives, {size:,} bytes ({share:.1%} of {bound:,})")


@cache.command()
@_config
@click.option("--identifier", help="Remove what was made of this original only (type:name).")
def purge(config: Path | None, identifier: str | None) -> None:
    """Remove derivatives. Originals stay; what is asked for again is made again."""
    from iiif_server.composition import open_store  # noqa: PLC0415
    from iiif_server.errors import IiifServerError  # noqa: PLC0415
    from iiif_server.iiif.identifier import parse_identifier  # noqa: PLC0415
    from iiif_server.images.keys import group_of  # noqa: PLC0415

    settings = _settings(config)
    store = open_store(settings, lambda _: None)
    group = None
    if identifier is not None:
        try:
            group = group_of(parse_identifier(identifier, settings.default_type))
        except IiifServerError as error:
            _fail(str(error))
    paths = store.paths(group)
    with _progress("Removing derivatives", len(paths)) as advance:
        for path in paths:
            store.remove(path)
            advance()
    store.mark_purged()
    click.echo(f"{len(paths)} derivative{'' if len(paths) == 1 else 's'} removed.")


def _loaded(config: Path | None) -> "Loaded":
    """The settings with warnings, or the end of the program with an explanation."""
    from iiif_server.errors import ConfigurationError  # noqa: PLC0415
    from iiif_server.settings import load  # noqa: PLC0415

    try:
        return load(config)
    except ConfigurationError as error:
        _fail(str(error))


def _settings(config: Path | None) -> "Settings":
    """The settings, or the end of the program with an explanation."""
    return _loaded(config).settings


def _settings_to_serve(config: Path | None, *, sample: bool) -> "Settings":
    """The settings, with a sample to serve if that is wanted or nothing else is there.

    Raises ConfigurationError.
    """
    from iiif_server.settings import load_settings  # noqa: PLC0415

    settings = load_settings(config)
    if sample or (config is None and not settings.types):
        return _with_sample(settings)
    return settings


def _with_sample(settings: "Settings") -> "Settings":
    """The settings with a type of one large image besides, which is made if it is not there yet."""
    from iiif_server.commands.sample import write_sample  # noqa: PLC0415
    from iiif_server.errors import ConfigurationError  # noqa: PLC0415
    from iiif_server.sources.registry import type_options  # noqa: PLC0415

    options = settings.types.get(SAMPLE_TYPE) or type_options({"source": "disk"})
    if options.source != "disk":
        raise ConfigurationError(
            f"There is a type {SAMPLE_TYPE} already, and it is not on disk: leave out --sample."
        )
    path = settings.source_path / SAMPLE_TYPE / SAMPLE_NAME
    if not path.exists():
        click.echo("Making a sample image, which takes some seconds ...")
        try:
            write_sample(path)
        except OSError as error:
            raise ConfigurationError(
                f"The sample image cannot be written to {path}: {error.strerror}"
            ) from error
    return settings.model_copy(update={"types": {**settings.types, SAMPLE_TYPE: options}})


def _addresses(settings: "Settings", host: str, port: int) -> list[str]:
    """What to open, now that the server is about to listen."""
    local = _base(host, port)
    base = settings.base_url or f"{local}{settings.root_path}"
    lines = [
        f"{base}/         what there is to see",
        f"{base}/docs     what can be asked for",
        f"{base}/status   what the server does",
    ]
    if SAMPLE_TYPE in settings.types:
        image = f"{base}/{SAMPLE_TYPE}:{SAMPLE_NAME}"
        lines = [
            f"{image}/view   to zoom into",
            f"{image}/info.json",
            f"{image}/full/!1200,1200/0/default.jpg   the whole sheet",
            f"{image}/4096,3072,512,512/max/0/default.jpg   a tile at full resolution",
            *lines,
        ]
    if settings.base_url is not None:
        lines.append(f"{local}   where this process listens")
    return ["", *(f"  {line}" for line in lines), ""]


def _base(host: str, port: int) -> str:
    """The address of the server on this machine, which also works where it listens on all."""
    if host in {"", "0.0.0.0", "::"}:  # noqa: S104 - where it listens is another matter
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def _progress(description: str, total: int) -> "Iterator[Callable[[], None]]":
    """A bar on a terminal, and one plain line elsewhere; yields what advances it."""
    if not sys.stderr.isatty():
        click.echo(f"{description}: {total}", err=True)
        yield lambda: None
        return
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total)
        yield lambda: bar.advance(task)


def _whole_seconds(text: str, option: str) -> int:
    """The seconds in a duration given on the command line, at least 1."""
    from iiif_server.units import DURATION, parse_duration  # noqa: PLC0415

    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None
    if not isinstance(seconds, int) or seconds < 1:
        raise click.BadParameter(f"must be {DURATION.expected}", param_hint=option)
    return seconds


def _fail(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(1)
