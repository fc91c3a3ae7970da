"""The model repository: its `load` is how a client asks for a new plan."""

from __future__ import annotations

import kserve

from .replanner import Replanner


class Repository(kserve.ModelRepository):
    """POST /v2/repository/models/NAME/load plans again from the requests gathered and returns when all models are swapped;
    503 with the reason when that failed."""

    def __init__(self, replanner: Replanner):
        super().__init__()
        self._replanner = replanner

    async def load(self, name: str) -> bool:
        """All models have one plan, so any name renews all of them."""
        if name not in self._replanner.models:
            raise KeyError(f"no model {name!r}")
        await self._replanner.replanned()
        model = self._replanner.models[name]
        self.update(model)  # back again after an `unload`
        model.ready = True
        return True
