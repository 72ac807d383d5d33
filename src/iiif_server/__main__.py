"""Entry point of `python -m iiif_server`, which runs the command line `iiif-server`."""

from iiif_server.cli import main

if __name__ == "__main__":
    main()
