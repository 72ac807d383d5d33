"""JSON schemas of IIIF documents, for the OpenAPI document, from which clients are generated.

They are written by hand and contain what clients rely on. The documents are made without models,
and models only for the OpenAPI document would cost time at every start. Types may add properties
(`[types.NAME.info]`).
"""

from typing import Any

from iiif_server.iiif.formats import FORMAT_FACTS
from iiif_server.iiif.versions import V2, V3, ImageApiVersion
from iiif_server.server.negotiation import JSON, LD_JSON

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_PIXELS: Schema = {"type": "integer", "minimum": 1}
_LANGUAGE_MAP: Schema = {"type": "object", "additionalProperties": _TEXTS}


def _object(title: str, required: dict[str, Schema], **optional: Schema) -> Schema:
    return {
        "title": title,
        "type": "object",
        "properties": required | optional,
        "required": list(required),
    }


_SIZES: Schema = {
    "type": "array",
    "items": _object("Size", {"width": _PIXELS, "height": _PIXELS}),
}
_TILES: Schema = {
    "type": "array",
    "items": _object(
        "Tiles",
        {"width": _PIXELS, "scaleFactors": {"type": "array", "items": _PIXELS}},
        height=_PIXELS,
    ),
}
_LIMITS = {"maxWidth": _PIXELS, "maxHeight": _PIXELS, "maxArea": _PIXELS}

_INFORMATION: dict[ImageApiVersion, Schema] = {
    V3: _object(
        "ImageInformation3",
        {
            "@context": {},
            "id": _TEXT,
            "type": {"const": "ImageService3"},
            "protocol": _TEXT,
            "profile": _TEXT,
            "width": _PIXELS,
            "height": _PIXELS,
        },
        sizes=_SIZES,
        tiles=_TILES,
        preferredFormats=_TEXTS,
        extraFormats=_TEXTS,
        extraQualities=_TEXTS,
        extraFeatures=_TEXTS,
        rights=_TEXT,
        **_LIMITS,
    ),
    V2: _object(
        "ImageInformation2",
        {
            "@context": {},
            "@id": _TEXT,
            "protocol": _TEXT,
            "width": _PIXELS,
            "height": _PIXELS,
            "profile": {
                "type": "array",
                "items": {
                    "anyOf": [
                        _TEXT,
                        _object(
                            "Profile2",
                            {},
                            formats=_TEXTS,
                            qualities=_TEXTS,
                            supports=_TEXTS,
                            **_LIMITS,
                        ),
                    ]
                },
            },
        },
        sizes=_SIZES,
        tiles=_TILES,
        license={},
    ),
}


def _resource(type_: str) -> Schema:
    return _object(
        type_,
        {
            "@context": _TEXT,
            "id": _TEXT,
            "type": {"const": type_},
            "label": _LANGUAGE_MAP,
            "items": {"type": "array", "items": {"type": "object"}},
        },
    )


MANIFEST: dict[int | str, dict[str, Any]] = {
    200: {"description": "The manifest", "content": {LD_JSON: {"schema": _resource("Manifest")}}}
}
COLLECTION: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The collection",
        "content": {LD_JSON: {"schema": _resource("Collection")}},
    }
}
IMAGE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The image",
        "content": {
            facts.media_type: {"schema": {"type": "string", "format": "binary"}}
            for facts in FORMAT_FACTS.values()
        },
    }
}


METADATA: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The metadata",
        "content": {
            JSON: {
                "schema": _object(
                    "Metadata",
                    {
                        "format": _TEXT,
                        "mediaType": _TEXT,
                        "bytes": {"type": "integer"},
                        "width": _PIXELS,
                        "height": _PIXELS,
                        "colourSpace": _TEXT,
                    },
                    bitDepth={"type": "integer"},
                    pages={"type": "integer"},
                    profile=_TEXT,
                    resolution={"type": "object"},
                    physicalSize={"type": "object"},
                    exif={"type": "object"},
                    iptc={"type": "object"},
                    xmp={"type": "object"},
                )
            }
        },
    }
}
JPEG: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The image",
        "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
    }
}
DOWNLOAD: dict[str, Any] = {
    "parameters": [
        {
            "name": "download",
            "in": "query",
            "required": False,
            "description": "with it, the image is an attachment, which browsers save",
            "schema": {"type": "string"},
            "allowEmptyValue": True,
            # No example: the API page would fill it in, and the browser would save the image.
        },
        {
            "name": "response-content-disposition",
            "in": "query",
            "required": False,
            "description": "the same, as Cantaloupe has it; only its type is read",
            "schema": {"type": "string", "pattern": "^(inline|attachment)$"},
        },
    ]
}


def information(versions: tuple[ImageApiVersion, ...]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI response of an info.json in one of these versions, the default first."""
    schemas = [_INFORMATION[version] for version in versions]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    content = {JSON: {"schema": schema}, LD_JSON: {"schema": schema}}
    return {200: {"description": "The image information", "content": content}}
