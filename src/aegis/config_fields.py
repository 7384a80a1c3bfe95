"""What a setting is made with."""

from __future__ import annotations

from dataclasses import field
from typing import Any

__all__ = ["setting"]


def setting(doc: str, *, secret: bool = False, **default: Any) -> Any:
    """Return a field of settings; a secret one is never shown."""
    return field(repr=not secret, metadata={"doc": doc, "secret": secret}, **default)
