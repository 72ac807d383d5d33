"""What a derivative is kept under: a digest of all that decides its bytes."""

from dataclasses import replace
from hashlib import blake2b

from iiif_server.cache.entries import EntryKey
from iiif_server.iiif.identifier import Identifier, split_page
from iiif_server.iiif.request import Rendition
from iiif_server.plan.encoding import EncodingOptions
from iiif_server.plan.render_plan import Engine

_FORMAT_VERSION = 6
"""To be raised when the same request gives other bytes than before."""


def digest(*parts: str) -> str:
    """32 hexadecimal digits for a sequence of texts."""
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    told_apart = b"".join(len(part).to_bytes(8, "big") + part for part in encoded)
    return blake2b(told_apart, digest_size=16).hexdigest()


def group_of(identifier: Identifier) -> str:
    """The group of all that is made of an identifier's original, whichever its page."""
    return digest(str(replace(identifier, name=split_page(identifier.name)[0])))


def derivative_key(
    group: str,
    fingerprint: str,
    rendition: Rendition,
    engine: Engine,
    encoding: str,
) -> EntryKey:
    """The key of a derivative; every spelling of a request, in any version, has the same.

    `encoding` is what `encoding_text` says of the settings, and what else decides its bytes.
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
    """How derivatives are encoded, as a text that is the same for the same settings."""
    return encoding.model_dump_json()
