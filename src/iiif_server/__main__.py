"""`python -m iiif_server` runs the command line `iiif-server`."""

from iiif_server.cli import main

if __name__ == "__main__":
    main()
