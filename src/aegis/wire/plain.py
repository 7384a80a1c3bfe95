"""The JSON form of a value, the same in every face: what `--json`, HTTP and MCP show."""

from __future__ import annotations

import json
import os
from dataclasses import fields, is_dataclass
from datetime import date
from decimal import Decimal
from typing import Any

__all__ = ["json_text", "plain"]


def plain(value: Any) -> Any:
    """Return `value` made of dicts, lists, texts and numbers; times in ISO 8601 with their zone."""
    if value is None or isinstance(value, str | bool | int):
        return value
    # A time is a date, too.
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        # Money: as text, since a binary number would not keep the cents.
        return str(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, os.PathLike):
        return os.fspath(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    # A number of another library, such as numpy's, is still a number.
    return float(value)


def json_text(value: Any) -> str:
    """Return the JSON document of `value`, indented, in UTF-8 as it is."""
    return json.dumps(plain(value), ensure_ascii=False, indent=2)
