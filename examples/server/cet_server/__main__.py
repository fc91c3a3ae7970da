"""Starts the server: python -m cet_server, with settings from the environment."""

from __future__ import annotations

import logging
import os
import sys

import cet
import kserve

from .replanner import Replanner
from .repository import Repository
from .settings import Settings, SettingsError


def main() -> int:
    """Serves until SIGTERM or Ctrl-C."""
    try:
        settings = Settings.read(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"cet_server: {error}\n")
        return 2
    # kserve leaves logging alone that is configured; a line for every request is its loggers' default.
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    for name in ("uvicorn.access", "kserve.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        replanner = Replanner(settings)
        models = replanner.start()
    except (cet.CetError, OSError, KeyError) as error:
        sys.stderr.write(f"cet_server: {error}\n")
        return 1
    try:
        server = kserve.ModelServer(
            http_port=settings.port, enable_grpc=False, enable_latency_logging=False, registered_models=Repository(replanner),
            grace_period=5)
        server.start(models)
    finally:
        replanner.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
