"""Says so when a package is built without the scripts of the viewer and of /docs."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BundleHook(BuildHookInterface[Any]):
    """A package is whole without them, but for these pages: so it is built, with a warning."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Look for the bundle before a wheel or an sdist is made."""
        del build_data
        bundle = Path(self.root, "src/iiif_server/pages/bundle")
        if version != "editable" and not bundle.is_dir():
            self.app.display_warning(
                f"This {self.target_name} has no scripts for the viewer and for /docs: "
                "run `make assets` first (it needs npm) to have them in it."
            )
