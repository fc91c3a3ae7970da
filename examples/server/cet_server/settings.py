"""Settings of the server, from environment variables."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Mapping

PREFIX = "CET_SERVER_"
_ROOT = Path(__file__).resolve().parents[3]
_DIGITS = _ROOT / "Tests" / "Fixtures" / "digits_cnn"


class SettingsError(ValueError):
    """A variable that cannot be used; one line."""


@dataclass(frozen=True)
class Settings:
    """Each field is the environment variable CET_SERVER_ and its name in capitals."""

    model: Path = _DIGITS / "model.onnx"
    """The float32 model."""
    calibration: Path = _DIGITS / "calibration.npz"
    """Samples for the first plan; labels in it are not used."""
    name: str = "digits"
    """Name of the first model; the second's is the same with "-small"."""
    ratio: float = 11.0
    """Budget of the first model: 32 / mean code bits."""
    small_ratio: float = 16.0
    """Budget of the second."""
    port: int = 8080
    gather: int = 256
    """Samples of requests that are kept for the next plan, at most."""
    replan_after: int = 0
    """A new plan by itself after so many samples since the last; 0: only when the repository's `load` asks for it."""
    threads: int = 1
    """That libcet may use."""
    niceness: int = 19
    """How much lower than the server's the priority of libcet's threads is."""
    log_level: str = "INFO"

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """The settings that an environment holds."""
        values = {}
        names = {PREFIX + field.name.upper() for field in fields(cls)}
        for variable in environment:
            if variable.startswith(PREFIX) and variable not in names:
                raise SettingsError(f"{variable} is no setting; these are: {', '.join(sorted(names))}")
        for field in fields(cls):
            variable = PREFIX + field.name.upper()
            if variable not in environment:
                continue
            kind = Path if isinstance(field.default, Path) else type(field.default)
            try:
                values[field.name] = kind(environment[variable])
            except ValueError:
                raise SettingsError(f"{variable} is {environment[variable]!r}, expected {kind.__name__}") from None
        settings = cls(**values)
        settings._check()
        return settings

    def _check(self) -> None:
        for name in ("ratio", "small_ratio"):
            if not 4 <= getattr(self, name) <= 32:
                raise SettingsError(f"{PREFIX}{name.upper()} is {getattr(self, name)}, expected 4 to 32")
        ranges = {
            "port": (1, 65535), "gather": (16, 1 << 20), "replan_after": (0, 1 << 60), "threads": (1, 1024), "niceness": (0, 19)}
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise SettingsError(f"{PREFIX}{name.upper()} is {getattr(self, name)}, expected {low} to {high}")
        if not self.name:
            raise SettingsError(f"{PREFIX}NAME is empty")
        if self.log_level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise SettingsError(f"{PREFIX}LOG_LEVEL is {self.log_level!r}, expected DEBUG, INFO, WARNING or ERROR")

    @property
    def ratios(self) -> dict[str, float]:
        """Budget by model name; the first is planned, the others come from its table."""
        return {self.name: self.ratio, f"{self.name}-small": self.small_ratio}
