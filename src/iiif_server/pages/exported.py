"""The page beside an image that was exported: it needs no server of ours."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

SCRIPT = "openseadragon.min.js"
"""The script, as it is called in the bundle and in the folder of all that is exported."""

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
)


def exported_page(
    label: str, information: Mapping[str, Any], script: str, rights: str | None
) -> str:
    """A viewer of the image that an info.json describes, whose files lie beside the page.

    `script` leads from the page to OpenSeadragon, `rights` to a licence or rights statement.
    """
    return _templates.get_template("export.html").render(
        label=label, information=information, script=script, rights=rights
    )
