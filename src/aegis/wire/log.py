"""Logs: one line an event on standard error, a stable name and then `key=value` fields."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from aegis.request import REQUEST_ID

__all__ = ["Lines", "log_to_stderr"]

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class Lines(logging.Formatter):
    """`2026-05-01T09:00:00Z info aegis.memory memory.embed_failed code=unavailable texts=3`.

    A line that was written while a request was answered ends with the request's id.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line; a traceback follows on lines of its own."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        head = f"{at.replace('+00:00', 'Z')} {record.levelname.lower()} {record.name}"
        fields = " ".join(
            f"{name}={_value(value)}"
            for name, value in vars(record).items()
            if name not in _STANDARD
        )
        request = REQUEST_ID.get()
        if request is not None:
            fields = f"{fields} request={request}".lstrip()
        line = " ".join(part for part in (head, _one_line(record.getMessage()), fields) if part)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def log_to_stderr(level: int = logging.INFO, *, libraries: int = logging.WARNING) -> None:
    """Send logs to standard error in this form: ours from `level` on, others from `libraries`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    # Not by their own levels, which libraries set as they please.
    handler.addFilter(lambda record: record.levelno >= libraries or _is_ours(record.name))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(min(level, libraries))
    logging.getLogger("aegis").setLevel(level)


def _is_ours(name: str) -> bool:
    return name == "aegis" or name.startswith("aegis.")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _value(value: object) -> str:
    if isinstance(value, str) and value and not set(value) & set(' "=\n\r\t\\'):
        return value
    if isinstance(value, bool | int | float) or value is None:
        return json.dumps(value)
    return json.dumps(str(value), ensure_ascii=False)
