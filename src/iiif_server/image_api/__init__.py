"""The IIIF Image API as pure functions: no I/O, no event loop, no imaging library.

Text is parsed without the image (`parse_*`) and resolved with it (`resolve`).
"""
