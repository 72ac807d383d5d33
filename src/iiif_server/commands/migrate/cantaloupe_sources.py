"""Migration of Cantaloupe's sources to types. Pure."""

from iiif_server.commands.migrate.conversion import (
    Conversion,
    add_disk_type,
    add_web_type,
    allow_private,
    is_true,
)

_BASIC = "BasicLookupStrategy"
_USED = {
    "FilesystemSource": f"FilesystemSource.{_BASIC}.path_prefix",
    "HttpSource": f"HttpSource.{_BASIC}.url_prefix",
    "S3Source": f"S3Source.{_BASIC}.bucket.name",
    "AzureStorageSource": "AzureStorageSource.container_name",
}
"""Required setting of each source."""


def add_sources(conversion: Conversion) -> str | None:
    """Add the types that replace the sources; return the name of the default type, if any."""
    static = str(conversion.read("source.static", ""))
    if is_true(conversion.read("source.delegate")):
        sources = [name for name, needed in _USED.items() if conversion.old.get(needed)]
        types = [type_ for name in sources if (type_ := _TYPES[name](conversion))]
        return _lookup(conversion, types, "source.delegate")
    if static not in _TYPES:
        if static:
            conversion.add_unsupported(
                f"source.static = {static}", "write a source as a plug-in: docs/plugins.md"
            )
        return None
    type_ = _TYPES[static](conversion)
    strategy = f"{static}.lookup_strategy"
    if type_ is not None and "ScriptLookupStrategy" in str(conversion.read(strategy, "")):
        return _lookup(conversion, [type_], strategy)
    return type_


def _lookup(conversion: Conversion, types: list[str], comment: str) -> str | None:
    """Add a lookup type that replaces the delegate script; return its name."""
    if not types:
        conversion.add_unsupported(comment, "no source has the settings that it needs")
        return None
    name = next(name for name in ("lookup", "delegate") if name not in types)
    conversion.add(("types", name, "source"), "lookup", f"{comment}: docs/sources/lookup.md")
    conversion.add(("types", name, "types"), types, "the types that serve what is found")
    conversion.add(("types", name, "table"), "identifiers.csv", "or url = ..., or sql = ...")
    for type_ in types:
        conversion.add(("types", type_, "access"), "internal", f"reached through {name} only")
    conversion.to_do.append(
        "Port what the delegate script returns for an identifier (source, pathname, URL and "
        f"headers, object key) to the table of [types.{name}], or to an SQL query or HTTP service: "
        "docs/sources/lookup.md."
    )
    return name


def _files(conversion: Conversion) -> str | None:
    prefix = str(conversion.read(_USED["FilesystemSource"], ""))
    suffix = str(conversion.read(f"FilesystemSource.{_BASIC}.path_suffix", ""))
    folder, slash, rest = prefix.rpartition("/")
    if not slash:
        what = "identifiers cannot be whole paths: name a folder"
        conversion.add_unsupported(_USED["FilesystemSource"], what)
        return None
    return add_disk_type(conversion, folder or "/", _USED["FilesystemSource"], rest, suffix)


def _web(conversion: Conversion) -> str | None:
    prefix = str(conversion.read(_USED["HttpSource"], ""))
    suffix = str(conversion.read(f"HttpSource.{_BASIC}.url_suffix", ""))
    conversion.copy_numbers({"HttpSource.request_timeout": "fetch.total_timeout"})
    if is_true(conversion.read("HttpSource.allow_insecure")):
        conversion.add_unsupported(
            "HttpSource.allow_insecure", "certificates are always checked; see ca_file"
        )
    if not prefix:
        what = "identifiers that are URLs: a type trusted_web with prefixes, docs/sources"
        conversion.add_unsupported(_USED["HttpSource"], what)
        return None
    script = "ScriptLookupStrategy" in str(conversion.read("HttpSource.lookup_strategy", ""))
    if script or is_true(conversion.old.get("source.delegate")):
        conversion.add(("types", "web", "source"), "trusted_web", _USED["HttpSource"])
        conversion.add(
            ("types", "web", "prefixes"), [_folder_of(prefix)], "what the script may return"
        )
        allow_private(conversion, prefix)
    else:
        url = f"{prefix}{{name}}{suffix}"
        add_web_type(conversion, "web", url, f"HttpSource.{_BASIC}.url_prefix, url_suffix")
    basic = f"HttpSource.{_BASIC}.auth.basic"
    if user := conversion.read(f"{basic}.username"):
        conversion.read(f"{basic}.secret")
        conversion.to_do.append(
            f'Add to [types.web]: username = "{user}" and password_file = "FILE", a file with '
            f"{basic}.secret in it. Passwords are not copied."
        )
    return "web"


def _folder_of(url: str) -> str:
    return url if url.endswith("/") else f"{url.rpartition('/')[0]}/"


def _s3(conversion: Conversion) -> str | None:
    bucket = conversion.read(_USED["S3Source"])
    prefix = conversion.read(f"S3Source.{_BASIC}.path_prefix", "")
    suffix = conversion.read(f"S3Source.{_BASIC}.path_suffix", "")
    if not bucket:
        conversion.add_unsupported(_USED["S3Source"], "name the bucket")
        return None
    _objects(conversion, "s3", f"s3://{bucket}/{prefix}{{name}}{suffix}", _USED["S3Source"])
    conversion.copy({f"S3Source.{name}": f"types.s3.{name}" for name in ("endpoint", "region")})
    if key := conversion.read("S3Source.access_key_id"):
        conversion.read("S3Source.secret_key")
        conversion.to_do.append(
            f'Add to [types.s3]: access_key_id = "{key}" and secret_access_key_file = "FILE", a '
            "file with S3Source.secret_key in it. Secret keys are not copied."
        )
    return "s3"


def _azure(conversion: Conversion) -> str | None:
    container = conversion.read(_USED["AzureStorageSource"])
    if not container:
        conversion.add_unsupported(_USED["AzureStorageSource"], "name the container")
        return None
    _objects(conversion, "azure", f"az://{container}/{{name}}", _USED["AzureStorageSource"])
    conversion.copy({"AzureStorageSource.account_name": "types.azure.account"})
    if conversion.read("AzureStorageSource.account_key"):
        conversion.to_do.append("Set AZURE_STORAGE_ACCOUNT_KEY to AzureStorageSource.account_key.")
    return "azure"


def _objects(conversion: Conversion, name: str, url: str, comment: str) -> None:
    conversion.add(("types", name, "source"), "objects", comment)
    conversion.add(("types", name, "url"), url, "{name} stands for the rest of the identifier")


def _jdbc(conversion: Conversion) -> str | None:
    conversion.ignored += conversion.read_prefix("JdbcSource.")
    conversion.add_unsupported(
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
