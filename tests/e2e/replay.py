"""What OpenSeadragon asks for, without a browser."""

import json
import subprocess
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent / "openseadragon"


def tiles_of(documents: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """What OpenSeadragon would ask for, and what it expects there, for each info.json."""
    done = subprocess.run(
        ["node", "tiles.cjs"],
        cwd=_HERE,
        input=json.dumps(documents),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    tiles: list[list[dict[str, Any]]] = json.loads(done.stdout)
    return tiles
