"""Migration of Cantaloupe's sources to types. Pure."""

from iiif_server.commands.migrate.moves import (
    Move,
    allow_private,
    is_true,
    put_disk_type,
    put_web_type,
)

_BASIC = "BasicLookupStrategy"
_USED = {
    "FilesystemSource": f"FilesystemSource.{_BASIC}.path_prefix",
    "HttpSource": f"HttpSource.{_BASIC}.url_prefix",
    "S3Source": f"S3Source.{_BASIC}.bucket.name",
    "AzureStorageSource": "AzureStorageSource.container_name",
}
"""Required setting of each source."""


def put_sources(move: Move) -> str | None:
    """Add the types that replace the sources; return the name of the default type, if any."""
    static = str(move.take("source.static", ""))
    if is_true(move.take("source.delegate")):
        sources = [name for name, needed in _USED.items() if move.old.get(needed)]
        types = [type_ for name in sources if (type_ := _TYPES[name](move))]
        return _lookup(move, types, "source.delegate")
    if static not in _TYPES:
        if static:
            move.lack(f"source.static = {static}", "write a source as a plug-in: docs/plugins.md")
        return None
    type_ = _TYPES[static](move)
    strategy = f"{static}.lookup_strategy"
    if type_ is not None and "ScriptLookupStrategy" in str(move.take(strategy, "")):
        return _lookup(move, [type_], strategy)
    return type_


def _lookup(move: Move, types: list[str], comment: str) -> str | None:
    """Add a lookup type that replaces the delegate script; return its name."""
    if not types:
        move.lack(comment, "no source has the settings that it needs")
        return None
    name = next(name for name in ("lookup", "delegate") if name not in types)
    move.put(("types", name, "source"), "lookup", f"{comment}: docs/sources/lookup.md")
    move.put(("types", name, "types"), types, "the types that serve what is found")
    move.put(("types", name, "table"), "identifiers.csv", "or url = ..., or sql = ...")
    for type_ in types:
        move.put(("types", type_, "access"), "internal", f"reached through {name} only")
    move.to_do.append(
        "Port what the delegate script returns for an identifier (source, pathname, URL and "
        f"headers, object key) to the table of [types.{name}], or to an SQL query or HTTP service: "
        "docs/sources/lookup.md."
    )
    return name


def _files(move: Move) -> str | None:
    prefix = str(move.take(_USED["FilesystemSource"], ""))
    suffix = str(move.take(f"FilesystemSource.{_BASIC}.path_suffix", ""))
    folder, slash, rest = prefix.rpartition("/")
    if not slash:
        what = "identifiers cannot be whole paths: name a folder"
        move.lack(_USED["FilesystemSource"], what)
        return None
    return put_disk_type(move, folder or "/", _USED["FilesystemSource"], rest, suffix)


def _web(move: Move) -> str | None:
    prefix = str(move.take(_USED["HttpSource"], ""))
    suffix = str(move.take(f"HttpSource.{_BASIC}.url_suffix", ""))
    move.copy_numbers({"HttpSource.request_timeout": "fetch.total_timeout"})
    if is_true(move.take("HttpSource.allow_insecure")):
        move.lack("HttpSource.allow_insecure", "certificates are always checked; see ca_file")
    if not prefix:
        what = "identifiers that are URLs: a type trusted_web with prefixes, docs/sources"
        move.lack(_USED["HttpSource"], what)
        return None
    script = "ScriptLookupStrategy" in str(move.take("HttpSource.lookup_strategy", ""))
    if script or is_true(move.old.get("source.delegate")):
        move.put(("types", "web", "source"), "trusted_web", _USED["HttpSource"])
        move.put(("types", "web", "prefixes"), [_folder_of(prefix)], "what the script may return")
        allow_private(move, prefix)
    else:
        url = f"{prefix}{{name}}{suffix}"
        put_web_type(move, "web", url, f"HttpSource.{_BASIC}.url_prefix, url_suffix")
    basic = f"HttpSource.{_BASIC}.auth.basic"
    if user := move.take(f"{basic}.username"):
        move.take(f"{basic}.secret")
        move.to_do.append(
            f'Add to [types.web]: username = "{user}" and password_file = "FILE", a file with '
            f"{basic}.secret in it. Passwords are not copied."
        )
    return "web"


def _folder_of(url: str) -> str:
    return url if url.endswith("/") else f"{url.rpartition('/')[0]}/"


def _s3(move: Move) -> str | None:
    bucket = move.take(_USED["S3Source"])
    prefix = move.take(f"S3Source.{_BASIC}.path_prefix", "")
    suffix = move.take(f"S3Source.{_BASIC}.path_suffix", "")
    if not bucket:
        move.lack(_USED["S3Source"], "name the bucket")
        return None
    _objects(move, "s3", f"s3://{bucket}/{prefix}{{name}}{suffix}", _USED["S3Source"])
    move.copy({f"S3Source.{name}": f"types.s3.{name}" for name in ("endpoint", "region")})
    if key := move.take("S3Source.access_key_id"):
        move.take("S3Source.secret_key")
        move.to_do.append(
            f'Add to [types.s3]: access_key_id = "{key}" and secret_access_key_file = "FILE", a '
            "file with S3Source.secret_key in it. Secret keys are not copied."
        )
    return "s3"


def _azure(move: Move) -> str | None:
    container = move.take(_USED["AzureStorageSource"])
    if not container:
        move.lack(_USED["AzureStorageSource"], "name the container")
        return None
    _objects(move, "azure", f"az://{container}/{{name}}", _USED["AzureStorageSource"])
    move.copy({"AzureStorageSource.account_name": "types.azure.account"})
    if move.take("AzureStorageSource.account_key"):
        move.to_do.append("Set AZURE_STORAGE_ACCOUNT_KEY to AzureStorageSource.account_key.")
    return "azure"


def _objects(move: Move, name: str, url: str, comment: str) -> None:
    move.put(("types", name, "source"), "objects", comment)
    move.put(("types", name, "url"), url, "{name} stands for the rest of the identifier")


def _jdbc(move: Move) -> str | None:
    move.needless += move.below("JdbcSource.")
    move.lack(
        "source.static = JdbcSource",
        "images in a database: export them as files or objects; a type `lookup` with `sql` can "
        "find these by the same database (docs/sources/lookup.md)",
    )
    return None


_TYPES = {
    "FilesystemSource": _files,
    "HttpSource": _web,
    "S3Source": _s3,
    "AzureStorageSource": _azure,
    "JdbcSource": _jdbc,
}
