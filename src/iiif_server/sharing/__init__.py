"""Shared cache: a bucket as a second tier of the cache, for all replicas of a server."""
