"""Tile requests of OpenSeadragon, computed by its code without a browser."""

import json
import subprocess
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent / "openseadragon"


def openseadragon_tiles(documents: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the tiles that OpenSeadragon requests, with the expected sizes, for each info.json."""
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
