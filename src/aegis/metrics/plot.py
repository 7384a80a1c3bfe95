"""A series and its incidents as a PNG, drawn with numpy alone.

Each column of the picture shows the least and the greatest of its values, so that no spike is lost
however long the series is. Drawn at twice the size and averaged, which smooths the edges.
PNG: https://www.w3.org/TR/png-3/ (colour type 2, filter 0).
"""

from __future__ import annotations

import math
import struct
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aegis.metrics.font import GLYPHS, HEIGHT, WIDTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aegis.metrics.watch import Incident

    Picture = NDArray[np.float32]
    Colour = tuple[int, int, int]

__all__ = ["draw"]

_SCALE: Final = 2
_SIZE: Final = (1_200, 420)
#: Room around the plot: left, top, right, bottom.
_ROOM: Final = (72, 40, 20, 40)
_PAPER: Final = (255, 255, 255)
_GRID: Final = (230, 233, 238)
_INK: Final = (71, 79, 92)
_LINE: Final = (37, 99, 180)
_BAND: Final = {"info": (255, 244, 214), "warning": (255, 226, 196), "critical": (255, 208, 208)}
_MARK: Final = {"info": (202, 138, 4), "warning": (217, 95, 14), "critical": (200, 30, 45)}


def draw(
    times: Sequence[float], values: Sequence[float], incidents: Sequence[Incident], *, title: str
) -> bytes:
    """Return a PNG of the series (Unix seconds, rising; NaN leaves a gap) and its incidents."""
    width, height = (_SCALE * side for side in _SIZE)
    paper: Picture = np.empty((height, width, 3), np.float32)
    paper[:] = _PAPER
    left, top, right, bottom = (_SCALE * side for side in _ROOM)
    plot = _Plot(paper, (left, top, width - right, height - bottom), times, values)
    plot.shade(incidents)
    plot.grid()
    plot.line()
    plot.mark(incidents)
    found = len(incidents)
    told = f"{title}   {len(values):,} values, {found} incident{'' if found == 1 else 's'}"
    _write(paper, left, 14 * _SCALE, told, _INK, size=2)
    small = paper.reshape(height // _SCALE, _SCALE, width // _SCALE, _SCALE, 3).mean(axis=(1, 3))
    return _png(np.rint(small).astype(np.uint8))


class _Plot:
    """The part of the picture with the series, and how values become dots."""

    def __init__(
        self,
        paper: Picture,
        box: tuple[int, int, int, int],
        times: Sequence[float],
        values: Sequence[float],
    ) -> None:
        self.paper = paper
        self.left, self.top, self.right, self.bottom = box
        self.times = np.asarray(times, np.float64)
        self.values = np.asarray(values, np.float64)
        finite = self.values[np.isfinite(self.values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        self.steps = _steps(low, high)
        self.low, self.high = min(low, self.steps[0]), max(high, self.steps[-1])
        self.start = float(self.times[0]) if self.times.size else 0.0
        self.end = max(float(self.times[-1]) if self.times.size else 1.0, self.start + 1.0)

    def x(self, at: float) -> int:
        share = (min(max(at, self.start), self.end) - self.start) / (self.end - self.start)
        return self.left + round(share * (self.right - self.left - 1))

    def y(self, value: float) -> int:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.bottom - 1 - round(share * (self.bottom - self.top - 1))

    def shade(self, incidents: Sequence[Incident]) -> None:
        for incident in incidents:
            begin = self.x(incident.started_at)
            end = self.x(self.end if incident.ended_at is None else incident.ended_at)
            self.paper[self.top : self.bottom, begin : max(end, begin + 6)] = _BAND[
                incident.severity
            ]

    def grid(self) -> None:
        for step in self.steps:
            y = self.y(step)
            self.paper[y : y + _SCALE, self.left : self.right] = _GRID
            text = _number(step)
            wide = len(text) * (WIDTH + 1) * 2
            _write(self.paper, self.left - wide - 8, y - HEIGHT, text, _INK, size=2)
        count = 6
        for number in range(count + 1):
            at = self.start + (self.end - self.start) * number / count
            text = _moment(at, self.end - self.start)
            wide = len(text) * (WIDTH + 1) * 2
            x = min(max(self.x(at) - wide // 2, 4), self.paper.shape[1] - wide - 4)
            _write(self.paper, x, self.bottom + 14, text, _INK, size=2)

    def line(self) -> None:
        if not self.times.size:
            return
        span = self.end - self.start
        columns = (self.times - self.start) / span * (self.right - self.left - 1)
        columns = np.clip(np.rint(columns), 0, self.right - self.left - 1).astype(np.int64)
        last: tuple[int, float] | None = None
        for column in np.unique(columns):
            group = self.values[columns == column]
            group = group[np.isfinite(group)]
            if not group.size:
                last = None
                continue
            x = self.left + int(column)
            if last is not None and x - last[0] > 1:
                self._join(last, (x, float(group[0])))
            ends = [float(group.min()), float(group.max())]
            if last is not None and x - last[0] == 1:
                ends.append(last[1])
            self._column(x, min(ends), max(ends))
            last = (x, float(group[-1]))

    def _join(self, begin: tuple[int, float], end: tuple[int, float]) -> None:
        for x in range(begin[0], end[0]):
            here, there = (
                begin[1] + (end[1] - begin[1]) * (at - begin[0]) / (end[0] - begin[0])
                for at in (x, x + 1)
            )
            self._column(x, min(here, there), max(here, there))

    def _column(self, x: int, low: float, high: float) -> None:
        self.paper[self.y(high) - 1 : self.y(low) + 2, x : x + 2] = _LINE

    def mark(self, incidents: Sequence[Incident]) -> None:
        for incident in incidents:
            x, colour = self.x(incident.started_at), _MARK[incident.severity]
            self.paper[self.top : self.bottom, x : x + 2] = colour
            for row in range(10):
                self.paper[self.top - 12 + row, x - 8 + row : x + 10 - row] = colour


def _steps(low: float, high: float) -> list[float]:
    """Return round numbers that reach from about `low` to about `high`."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if span / (size * power) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    if first == last:
        last += 1
    return [number * step for number in range(first, last + 1)]


def _number(value: float) -> str:
    if value == 0:
        return "0"
    for size, sign in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size and abs(value) < size * 1e4:
            return f"{value / size:.4g}{sign}"
    return f"{value:.4g}"


def _moment(at: float, span: float) -> str:
    try:
        found = datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{at:.4g}"
    return found.strftime("%d %b %H:%M" if span < 30 * 86_400 else "%d %b %Y")


def _write(paper: Picture, x: int, y: int, text: str, colour: Colour, *, size: int) -> None:
    """Write `text` with its upper left dot at (x, y); what has no glyph is a question mark."""
    for sign in text:
        for row, bits in enumerate(GLYPHS.get(sign, GLYPHS["?"])):
            for dot in range(WIDTH):
                if bits >> (WIDTH - 1 - dot) & 1:
                    down, along = y + row * size, x + dot * size
                    if down >= 0 and along >= 0:
                        paper[down : down + size, along : along + size] = colour
        x += (WIDTH + 1) * size


def _png(pixels: NDArray[np.uint8]) -> bytes:
    height, width, _ = pixels.shape
    rows: NDArray[Any] = np.zeros((height, 1 + width * 3), np.uint8)
    rows[:, 1:] = pixels.reshape(height, width * 3)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, data)
        for kind, data in (
            (b"IHDR", header),
            (b"IDAT", zlib.compress(rows.tobytes(), 9)),
            (b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
