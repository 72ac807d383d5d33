"""Observes pyramid builds of an application in this process, and delays them."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from iiif_server.plan.build_plan import BuildPlan
from iiif_server.plan.grid import Part
from iiif_server.plan.jobs import BUILD_PART
from iiif_server.workers.admission import Lane
from support.apps import Server


class Builds:
    """Parts that a server builds, with a gate that delays them."""

    def __init__(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        self.parts: list[Part] = []
        self.lanes: list[Lane] = []
        self.promoted: list[str] = []
        """Originals whose background builds somebody waits for by now."""
        self.gate = asyncio.Event()
        self.gate.set()
        self.gated: Part | None = None
        self.instead: Callable[[Any], Any] | None = None
        """What is done instead of building."""
        self._pool = server.services.image_pool
        self._run = self._pool.run
        self._promote = self._pool.promote
        monkeypatch.setattr(self._pool, "run", self.run)
        monkeypatch.setattr(self._pool, "promote", self.promote)

    def promote(self, subject: str) -> None:
        self.promoted.append(subject)
        self._promote(subject)

    async def run(self, function: Any, argument: Any, **options: Any) -> Any:
        if function is BUILD_PART:
            assert isinstance(argument, BuildPlan)
            self.parts.append(argument.part)
            self.lanes.append(options["demand"].lane)
            if self.gated in {None, argument.part}:
                await self.gate.wait()
            if self.instead is not None:
                return await self._run(self.instead, None, **options)
        return await self._run(function, argument, **options)
