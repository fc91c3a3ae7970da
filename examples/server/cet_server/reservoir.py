"""Samples of live requests, bounded."""

from __future__ import annotations

import random
import threading
from typing import Mapping

import numpy as np

Sample = Mapping[str, np.ndarray]


class Reservoir:
    """A uniform choice of at most `capacity` of all samples that were offered (Vitter's algorithm R).

    Several threads may use it. A sample is one array per model input, without the sample axis.
    """

    def __init__(self, capacity: int, seed: int = 0):
        self._capacity = capacity
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._samples: list[Sample] = []
        self._offered = 0

    def offer(self, batch: Mapping[str, np.ndarray]) -> int:
        """Offers every sample of a request; gives how many were offered so far. Samples with NaN or infinity, which libcet
        would refuse, are passed over."""
        count = len(next(iter(batch.values())))
        with self._lock:
            for index in range(count):
                sample = {name: array[index] for name, array in batch.items()}
                if all(np.isfinite(array).all() for array in sample.values()):
                    self._take(sample)
            return self._offered

    def _take(self, sample: Sample) -> None:
        self._offered += 1
        if len(self._samples) < self._capacity:
            self._samples.append(_copied(sample))
            return
        place = self._random.randrange(self._offered)
        if place < self._capacity:
            self._samples[place] = _copied(sample)

    def samples(self) -> list[Sample]:
        """Those that are held now."""
        with self._lock:
            return list(self._samples)

    @property
    def offered(self) -> int:
        """Samples that were offered so far."""
        with self._lock:
            return self._offered


def _copied(sample: Sample) -> Sample:
    """Memory of its own: a view would keep the whole request."""
    return {name: np.array(array) for name, array in sample.items()}
