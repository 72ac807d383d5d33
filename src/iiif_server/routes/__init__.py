"""HTTP: parameters in, answers and problems out. Nothing here knows how an image is made."""
