"""Caches: the store of derivatives on disk, LRU caches in memory, single flight."""
