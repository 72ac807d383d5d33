"""Counts of a pool."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolStats:
    """What a pool is doing, and has done since it was opened."""

    workers: int
    busy: int
    waiting: int
    done: int
    replaced: int
    """Workers that died or were killed."""
    renewed: int
    """Workers that had served their time."""


@dataclass(frozen=True, slots=True)
class LaneStats:
    """What a lane of a pool is doing, and how often it has refused since the pool was opened."""

    running: int
    waiting: int
    refused: int
    bytes: int
    """Memory that what is running takes at its peak, as estimated."""
