"""Validation of rights: URIs of licences and rights statements, with suggestions. Pure."""

import re

_URI = re.compile(r"[a-z][a-z0-9+.-]*:[^\s<>\"{}|\\^`]+", re.IGNORECASE | re.ASCII)
_CREATIVE_COMMONS = re.compile(
    r"https?://(www\.)?creativecommons\.org/"
    r"(licenses/(by|by-sa|by-nc|by-nd|by-nc-sa|by-nc-nd)/\d\.\d|publicdomain/(zero|mark)/1\.0)(/.*)?"
)
_STATEMENTS = (
    *("InC", "InC-OW-EU", "InC-EDU", "InC-NC", "InC-RUU"),
    *("NoC-CR", "NoC-NC", "NoC-OKLR", "NoC-US", "CNE", "UND", "NKC"),
)
_RIGHTS_STATEMENTS = re.compile(
    rf"https?://(www\.)?rightsstatements\.org/vocab/({'|'.join(_STATEMENTS)})/1\.0(/.*)?"
)
_KNOWN = {
    "creativecommons.org": _CREATIVE_COMMONS,
    "rightsstatements.org": _RIGHTS_STATEMENTS,
}
_LICENCE = re.compile(
    r"(?:cc|creative commons)?[ _-]*(by(?:[ _-](?:nc|nd|sa))*)[ _-]*(\d\.\d)?", re.IGNORECASE
)
_EXAMPLE = "https://creativecommons.org/licenses/by/4.0/"


def checked_rights(text: str) -> str:
    """Check the URI of a licence or rights statement, and return it.

    At Creative Commons and RightsStatements.org, it must be a known one; other URIs are accepted.
    Raises ValueError, with the probably intended URI.
    """
    host = re.match(r"[a-z]+://(?:www\.)?([^/]*)", text.lower())
    known = _KNOWN.get(host[1]) if host else None
    if _URI.fullmatch(text) and (known is None or known.fullmatch(text)):
        return text
    suggestion = probable_uri(text)
    hint = f"; did you mean {suggestion}?" if suggestion else f", as {_EXAMPLE}"
    raise ValueError(
        "must be the URI of a licence at creativecommons.org or of a statement at "
        f"rightsstatements.org{hint}"
    )


def probable_uri(text: str) -> str | None:
    """URI of a short name such as `CC-BY 4.0`, `CC0` or `InC`; None if unknown."""
    plain = text.strip()
    if re.match(r"(www\.)?(creativecommons|rightsstatements)\.org/", plain):
        return f"https://{plain}"
    name = re.split(r"[/#]", plain.removesuffix("/").removesuffix("/1.0"))[-1].lower()
    for statement in _STATEMENTS:
        if name == statement.lower():
            return f"http://rightsstatements.org/vocab/{statement}/1.0/"
    if re.fullmatch(r"cc[ _-]?(0|zero)([ _-]?1\.0)?", name):
        return "https://creativecommons.org/publicdomain/zero/1.0/"
    if name in {"public domain", "publicdomain", "pd", "pdm"}:
        return "https://creativecommons.org/publicdomain/mark/1.0/"
    licence = _LICENCE.fullmatch(name)
    if licence is None:
        return None
    parts = re.split(r"[ _-]", licence[1])
    ordered = "-".join(part for part in ("by", "nc", "nd", "sa") if part in parts)
    uri = f"https://creativecommons.org/licenses/{ordered}/{licence[2] or '4.0'}/"
    return uri if _CREATIVE_COMMONS.fullmatch(uri) else None
