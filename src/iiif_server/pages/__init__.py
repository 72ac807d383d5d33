"""Web pages: HTML, scripts and styles, without a web framework and without HTTP."""
