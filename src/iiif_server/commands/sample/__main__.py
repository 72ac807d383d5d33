"""Entry point of `python -m iiif_server.commands.sample FILE`, which writes the sample image."""

import sys
from pathlib import Path

from iiif_server.commands.sample import write_sample

try:
    write_sample(Path(sys.argv[1]))
except OSError as error:
    sys.exit(error.strerror or str(error))
