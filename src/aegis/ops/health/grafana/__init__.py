"""Rules for Prometheus and a dashboard for Grafana, and how they are written out."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final

from aegis.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FILES", "write_files"]

FILES: Final = ("aegis-rules.yml", "aegis-dashboard.json")


def write_files(folder: Path) -> list[Path]:
    """Write the files into `folder`, which is made, and return where (`InvalidInput`)."""
    written: list[Path] = []
    for name in FILES:
        text = resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
        target = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        except OSError as error:
            raise InvalidInput(f"{target} cannot be written: {error.strerror}.") from None
        written.append(target)
    return written
