"""Batches as data loaders give them: mappings, pairs and rows of arrays."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from typing import Any, Dict, Optional, Sequence, Tuple

from .errors import InvalidArgument


class BatchReader:
    """Inputs by name and labels of one batch after the other.

    A batch is a mapping of inputs, whose entry named `labels` is the labels; a pair of such a mapping and labels; or, with
    `names`, a tuple or list of that many arrays, with the labels behind them where there is one more, or one array alone.
    names: of a mapping the only entries that are taken. labels: None where a mapping has none.
    """

    def __init__(self, names: Optional[Sequence[str]] = None, labels: Optional[str] = "labels"):
        self._names = [names] if isinstance(names, str) else None if names is None else list(names)
        self._labels = labels
        self._count = 0

    def __call__(self, batch: Any) -> Tuple[Dict[str, Any], Any]:
        self._count += 1
        if isinstance(batch, AnyMapping):
            return self._mapping(batch)
        if isinstance(batch, (tuple, list)):
            if len(batch) == 2 and isinstance(batch[0], AnyMapping):
                return self._mapping(batch[0])[0], batch[1]
            return self._row(list(batch))
        return self._row([batch])

    def _mapping(self, batch: Any) -> Tuple[Dict[str, Any], Any]:
        found = {str(name): value for name, value in batch.items()}
        labels = None if self._labels is None or self._labels in (self._names or ()) else found.pop(self._labels, None)
        if self._names is None:
            return found, labels
        missing = [name for name in self._names if name not in found]
        if missing:
            raise InvalidArgument(
                f"batch {self._count} has no {missing[0]!r}, only {', '.join(map(repr, found)) or 'nothing'}")
        return {name: found[name] for name in self._names}, labels

    def _row(self, arrays: "list[Any]") -> Tuple[Dict[str, Any], Any]:
        if self._names is None:
            raise InvalidArgument(
                f"batch {self._count} is no mapping but {_described(arrays)}: names=[...] says which inputs these are")
        more = len(arrays) - len(self._names)
        if more not in (0, 1):
            raise InvalidArgument(
                f"batch {self._count} is {_described(arrays)}, expected {len(self._names)} for "
                f"{', '.join(map(repr, self._names))}, or one more with labels")
        return dict(zip(self._names, arrays)), arrays[-1] if more else None


def _described(arrays: "list[Any]") -> str:
    return f"{len(arrays)} {'array' if len(arrays) == 1 else 'arrays'}"
