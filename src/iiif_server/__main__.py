"""`python -m iiif_server` is `iiif-server`."""

from iiif_server.cli import main

if __name__ == "__main__":
    main()
