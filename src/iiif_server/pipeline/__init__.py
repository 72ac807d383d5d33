"""From identifier and request to bytes: the one place that joins sources, cache, workers."""
