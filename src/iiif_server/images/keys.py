"""Cache keys of derivatives: digests of everything that a derivative depends on."""

from dataclasses import replace
from hashlib import blake2b

from iiif_server.cache.entries import EntryKey
from iiif_server.iiif.identifier import Identifier, split_page
from iiif_server.iiif.request import Rendition
from iiif_server.plan.encoding import EncodingOptions
from iiif_server.plan.render_plan import Engine

_FORMAT_VERSION = 6
"""Version of the derivatives; must be raised when the same request gives other bytes."""


def digest(*parts: str) -> str:
    """Digest of a sequence of texts: 32 hexadecimal digits."""
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    told_apart = b"".join(len(part).to_bytes(8, "big") + part for part in encoded)
    return blake2b(told_apart, digest_size=16).hexdigest()


def group_of(identifier: Identifier) -> str:
    """Group of all entries of an original, with all of its pages."""
    return digest(str(replace(identifier, name=split_page(identifier.name)[0])))


def derivative_key(
    group: str,
    fingerprint: str,
    rendition: Rendition,
    engine: Engine,
    encoding: str,
) -> EntryKey:
    """Cache key of a derivative; the same for every spelling of a request, in any version.

    `encoding` is the text of `encoding_text`, with everything else that decides the bytes.
    """
    box, size = rendition.region, rendition.size
    return EntryKey(
        group,
        digest(
            str(_FORMAT_VERSION),
            fingerprint,
            f"{box.x},{box.y},{box.width},{box.height}",
            f"{size.width},{size.height}",
            str(rendition.rotation),
            rendition.quality,
            rendition.format,
            engine,
            encoding,
        ),
    )


def encoding_text(encoding: EncodingOptions) -> str:
    """Settings of encoding as a text, for cache keys."""
    return encoding.model_dump_json()
