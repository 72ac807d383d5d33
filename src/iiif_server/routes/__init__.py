"""Routes: parse parameters, and return answers and problems. They render no images."""
