"""A series from a CSV file: `timestamp,value`, read as a stream, whatever its size."""

from __future__ import annotations

import csv
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from aegis.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["parse_time", "read_csv"]

_TIMES: Final = ("timestamp", "time", "ts", "date", "datetime")
_VALUES: Final = ("value", "metric", "y")
#: A longer field is no number and no time; a file without line ends is not read whole.
_MOST_FIELD: Final = 1_000


def read_csv(path: Path) -> Iterator[tuple[float, float]]:
    """Yield (Unix seconds, value) of each line; a value that is missing is NaN.

    The columns are found by their names (`timestamp`, `value`), or are the first two. Times are
    ISO 8601, UTC where they name no zone, or Unix seconds.

    Raises:
        InvalidInput: the file cannot be read, or a line is not of this form; it is named.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            yield from _points(lines, path)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8: {error.reason}.") from None


def _points(lines: Iterable[str], path: Path) -> Iterator[tuple[float, float]]:
    rows = csv.reader(_short_lines(lines, path))
    when = what = -1
    try:
        for row in rows:
            if not row:
                continue
            if when < 0:
                when, what, named = _columns(row, path)
                if named:
                    continue
            try:
                at, value = row[when], row[what]
            except IndexError:
                raise InvalidInput(
                    f"{path}, line {rows.line_num}: {len(row)} column(s); "
                    "a time and a value are needed."
                ) from None
            yield _time(at, path, rows.line_num), _number(value, path, rows.line_num)
    except csv.Error as error:
        raise InvalidInput(f"{path}, line {rows.line_num}: no CSV: {error}.") from None


def _short_lines(lines: Iterable[str], path: Path) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if len(line) > _MOST_FIELD:
            raise InvalidInput(f"{path}, line {number}: longer than {_MOST_FIELD:,} characters.")
        yield line


def _columns(row: list[str], path: Path) -> tuple[int, int, bool]:
    """Return where times and values are, and whether `row` names them."""
    names = [cell.strip().lower() for cell in row]
    when = next((names.index(name) for name in _TIMES if name in names), None)
    what = next((names.index(name) for name in _VALUES if name in names), None)
    if when is not None:
        if what is None:
            what = next((at for at in range(len(names)) if at != when), None)
        if what is None:
            raise InvalidInput(f"{path} has one column, {row[when]!r}; a value is needed.")
        return when, what, True
    if len(row) < 2:
        raise InvalidInput(f"{path} has one column; `timestamp,value` are needed.")
    return 0, 1, False


def parse_time(text: str) -> float:
    """Return Unix seconds of ISO 8601, UTC where it names no zone, or of a number (ValueError)."""
    text = text.strip()
    try:
        at = float(text)
    except ValueError:
        found = datetime.fromisoformat(text)
        at = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(at):
        raise ValueError("it is not finite")
    return at


def _time(text: str, path: Path, line: int) -> float:
    try:
        return parse_time(text)
    except (ValueError, OverflowError):
        raise InvalidInput(
            f"{path}, line {line}: {text[:40]!r} is no time; "
            "write 2026-05-01T12:00:00+00:00 or Unix seconds."
        ) from None


def _number(text: str, path: Path, line: int) -> float:
    text = text.strip()
    if text.lower() in ("", "na", "n/a", "null", "none"):
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise InvalidInput(f"{path}, line {line}: {text[:40]!r} is no number.") from None
