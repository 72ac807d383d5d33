"""Reader of identifiers: `type:name`, or the URL of an original that a type trusts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from iiif_server.errors import UntrustedUrlError
from iiif_server.iiif.identifier import Identifier, parse_identifier, parse_identifiers
from iiif_server.sources.base import TypeOptions


@dataclass(frozen=True, slots=True)
class IdentifierReader:
    """Reader of percent-encoded identifiers in URLs, lists and command lines."""

    default_type: str | None
    types: Mapping[str, TypeOptions]
    """Settings of the types, in the order of the settings file."""
    slash_substitute: str | None = None
    """Text that stands for a slash in names, except in those that are URLs."""

    def read(self, text: str) -> Identifier:
        """Parse an identifier; a URL belongs to the first type that trusts it.

        Raises the errors of `parse_identifier`, and UntrustedUrlError if no type trusts the URL.
        """
        return self._with_slashes(parse_identifier(text, self.default_type, self._of_url))

    def read_all(self, lines: Iterable[str]) -> list[Identifier]:
        """Parse identifiers, one per line; raises as `read`, with the line in the message."""
        found = parse_identifiers(lines, self.default_type, self._of_url)
        return [self._with_slashes(identifier) for identifier in found]

    def _with_slashes(self, identifier: Identifier) -> Identifier:
        options = self.types.get(identifier.type)
        if self.slash_substitute is None or (options is not None and options.takes_urls):
            return identifier
        return Identifier(identifier.type, identifier.name.replace(self.slash_substitute, "/"))

    def _of_url(self, url: str) -> Identifier | None:
        takes_urls = False
        for type_, options in self.types.items():
            if options.takes_urls:
                takes_urls = True
                name = options.name_of_url(url)
                if name is not None:
                    return Identifier(type_, name)
        if takes_urls:
            raise UntrustedUrlError("The URL in this identifier is not one that a type trusts.")
        return None
