"""Plans again beside the serving, and swaps."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from typing import Mapping

import numpy as np

from .compressor import Compressor, Stopped
from .model import CompressedModel
from .reservoir import Reservoir
from .settings import Settings

_log = logging.getLogger(__name__)


class Replanner:
    """One thread that plans. At most one plan at a time, and one that is asked for while another is made is that one."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._compressor = Compressor(settings)
        self._reservoir = Reservoir(settings.gather)
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "planning")
        self._lock = threading.Lock()
        self._running: concurrent.futures.Future | None = None
        self._planned_at = 0
        self.models: dict[str, CompressedModel] = {}

    def start(self) -> list[CompressedModel]:
        """The first plan, in the caller's thread, and the models that it gives."""
        for name, version in self._compressor.versions().items():
            self.models[name] = CompressedModel(name, version, self.gather)
        return list(self.models.values())

    def gather(self, batch: Mapping[str, np.ndarray]) -> None:
        """Keeps a request's samples; begins a new plan when the settings have it by itself and it is time."""
        offered = self._reservoir.offer(batch)
        due = self._settings.replan_after
        if due and offered - self._planned_at >= due:
            self.begin()

    def begin(self) -> concurrent.futures.Future:
        """The plan that is under way, or a new one."""
        with self._lock:
            if self._running is None or self._running.done():
                self._planned_at = self._reservoir.offered
                self._running = self._thread.submit(self._replan)
            return self._running

    async def replanned(self) -> None:
        """Waits for a plan from the requests until now; raises what made it fail. The versions before it serve on then."""
        await asyncio.shield(asyncio.wrap_future(self.begin()))

    def stop(self) -> None:
        """Ends a plan that is under way; it leaves nothing behind."""
        self._compressor.stop()
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _replan(self) -> None:
        try:
            versions = self._compressor.versions(self._reservoir.samples(), self._settings.niceness)
        except Stopped:
            _log.info("planning ended with the server")
            raise
        except Exception:
            _log.exception("planning failed; the versions before it serve on")
            raise
        for name, version in versions.items():
            self.models[name].swap(version)
