"""Logs are one line an event: time, level, logger, name, fields."""

from __future__ import annotations

import logging
import re

from aegis.wire.log import Lines


def record(message: str, **fields: object) -> str:
    made = logging.makeLogRecord({"name": "aegis.x", "levelname": "WARNING", "msg": message})
    made.__dict__ |= fields
    return Lines().format(made)


def test_event_is_one_line_with_its_fields() -> None:
    text = record("x.happened", code="unavailable", rows=3, why='says "no"\nand more', none=None)
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warning aegis\.x x\.happened ", text)
    assert text.endswith('code=unavailable rows=3 why="says \\"no\\"\\nand more" none=null')
    assert "\n" not in text
