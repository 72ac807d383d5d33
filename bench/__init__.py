"""Benchmarks of `make bench`: this server and its peers, on the same images, in one run."""
