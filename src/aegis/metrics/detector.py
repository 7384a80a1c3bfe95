"""How unusual the newest value of a series is, judged before the next is read.

Seven ways to be away from the usual are measured at once: the value and short means against longer
means (a spike, a burst, a shift), and the value against its season. Each way keeps a *record* for
each direction: the farthest it has been, block by block of values, forgotten slowly. The score is
how many times farther than its record the newest value lies. A record is a scale that needs no
distribution: a series with a spike every hour has a high one, a quiet series a low one.

After a shift the means follow and the record holds the step: the new level is the new normal.

The state is a fixed number of floats whatever was read; the same values give the same scores.
docs/explanation/anomalies.md says why it is built this way and what it reaches.
"""

from __future__ import annotations

import math
import sys
from array import array
from typing import Final, Literal

from aegis.errors import InvalidInput
from aegis.metrics.season import Season

__all__ = ["RATIO", "Detector", "Feature"]

#: A value this many times farther away than the record is an anomaly.
RATIO: Final = 1.55

#: What was unusual: the value against the last hour, a short mean against a longer one, the
#: value against its last half day, the mean of hours against that of days, or its season.
Feature = Literal["step", "burst", "hour", "far", "level", "season", "season_hour"]
_FEATURES: Final[tuple[Feature, ...]] = (
    "step",
    "burst",
    "hour",
    "far",
    "level",
    "season",
    "season_hour",
)
#: Values in the means that are compared; at a value each five minutes, 15 minutes to two days.
_SPANS: Final = (3, 12, 36, 48, 144, 576)
_WEIGHTS: Final = tuple(1 / span for span in _SPANS)
_SEASON_HOUR_WEIGHT: Final = 1 / 6
#: Values in a block; the first ones are shorter, so that a new series is judged soon.
_BLOCK: Final = 96
_FIRST_BLOCK: Final = 24
_GROWTH: Final = 8
#: Blocks that a way must have seen before it is judged.
_LEAST_BLOCKS: Final = 4
#: A record moves towards the usual block by the share of this time that the block took,
#: so that what happens once a day is remembered until the next day, however often one samples.
_MEMORY_S: Final = 16 * 86_400.0
_MOST_FORGOTTEN: Final = 0.02
_USUAL_WEIGHT: Final = 0.12
#: Deviations under this share of the mean size of the values count as nothing.
_FLOOR: Final = 0.05
_TINY: Final = 1e-12
#: Larger values are cut: their differences and squares must stay finite.
_MOST: Final = 1e150
#: A pause of so many usual intervals makes the short means start anew.
_PAUSE: Final = 50
#: So many values in a row that are all older than the newest mean that the clock was put back.
_CLOCK_BACK: Final = 20
_VERSION: Final = 1.0
_SIDES: Final = 2 * len(_FEATURES)


class Detector:
    """The state of one series. `least` is a deviation that never matters, in the value's unit."""

    __slots__ = (
        "_at",
        "_block_at",
        "_blocks",
        "_farthest",
        "_ignored",
        "_interval",
        "_late",
        "_least",
        "_means",
        "_next",
        "_records",
        "_season",
        "_season_hour",
        "_seen",
        "_size",
        "_usual",
        "expected",
        "feature",
        "record",
        "rising",
    )

    def __init__(self, *, least: float = 0.0) -> None:
        self._least = least
        self._season = Season()
        self._season_hour = 0.0
        self._means: list[float] = []
        #: Values that were judged, and those that could not be: not finite, or late.
        self._seen = self._ignored = self._late = 0
        self._at = self._block_at = math.nan
        self._interval = 0.0
        self._size = 0.0
        self._next = _FIRST_BLOCK
        self._blocks = [0] * _SIDES
        self._farthest = [-1.0] * _SIDES
        self._records = [0.0] * _SIDES
        #: Logarithm of the usual farthest of a block.
        self._usual = [0.0] * _SIDES
        #: What was expected of the newest value.
        self.expected = math.nan
        #: What was most unusual about it, the record of that, and whether it was too high.
        self.feature: Feature = "far"
        self.record = 0.0
        self.rising = True

    @property
    def seen(self) -> int:
        """Return how many values were judged."""
        return self._seen

    @property
    def ignored(self) -> int:
        """Return how many values could not be judged: not finite, late, or repeated."""
        return self._ignored

    @property
    def interval_s(self) -> float:
        """Return the usual time between values; 0 before the second."""
        return self._interval

    @property
    def last_at(self) -> float:
        """Return the time of the newest value, Unix seconds; NaN before the first."""
        return self._at

    def range(self, ratio: float = RATIO) -> tuple[float, float]:
        """Return the lowest and the highest value that would not have been an anomaly."""
        floor = self._floor()
        # Records of "far": up, then down.
        at = 2 * _FEATURES.index("far")
        up, down = (max(self._records[side], floor) for side in (at, at + 1))
        return self.expected - ratio * down, self.expected + ratio * up

    def update(self, at: float, value: float) -> float:
        """Judge `value` at `at` (Unix seconds) and learn it; return its score.

        0 is nothing new, 1 as far as ever, `RATIO` an anomaly. A value that is not finite, or not
        newer than the newest, is left out and scores 0.
        """
        if not (math.isfinite(value) and math.isfinite(at) and self._comes_next(at)):
            self._ignored += 1
            return 0.0
        value = min(max(value, -_MOST), _MOST)
        self._seen += 1
        if self._seen == 1:
            self._means = [value] * len(_SPANS)
            self._size = abs(value)
            self._block_at = at
            self.expected = value
            self._season.learn(at, value, value)
            return 0.0
        score = self._judge(self._deviations(at, value))
        if self._seen >= self._next:
            self._end_block(at)
        return score

    def put_back(self, at: float) -> None:
        """Go on at `at`, which lies before the newest value: what is known stays."""
        if at < self._at:
            self._at = self._block_at = at
            self._late = 0

    def _comes_next(self, at: float) -> bool:
        """Return whether a value of this time is newer than all others; keep the clock."""
        if self._seen == 0:
            self._at = at
            return True
        step = at - self._at
        if step <= 0:
            self._late += 1
            if step == 0 or self._late < _CLOCK_BACK:
                return False
            # The clock was put back for good: what is known stays, times begin anew.
            self._block_at = at
            step = self._interval
        self._late = 0
        self._at = at
        if self._interval and step > _PAUSE * self._interval:
            self._means[:4] = [self._means[4]] * 4
            return True
        self._interval += max(0.01, 1 / self._seen) * (step - self._interval)
        return True

    def _deviations(self, at: float, value: float) -> tuple[float | None, ...]:
        """Return how far each way is from the usual, and move the means."""
        means = self._means
        weight = 1 / self._seen
        m3, m12, m36, m48, m144, m576 = means
        w3, w12, w36, w48, w144, w576 = (
            _WEIGHTS if self._seen > _SPANS[-1] else [max(w, weight) for w in _WEIGHTS]
        )
        n3 = m3 + w3 * (value - m3)
        n12 = m12 + w12 * (value - m12)
        n48 = m48 + w48 * (value - m48)
        self._means = [
            n3,
            n12,
            m36 + w36 * (value - m36),
            n48,
            m144 + w144 * (value - m144),
            m576 + w576 * (value - m576),
        ]
        self._size += max(w576, weight) * (abs(value) - self._size)
        expected = self._season.learn(at, value, m144)
        season = season_hour = None
        if expected is not None:
            season = value - expected
            season_hour = self._season_hour = self._season_hour + _SEASON_HOUR_WEIGHT * (
                season - self._season_hour
            )
        self.expected = m144 if expected is None else expected
        return (value - m12, n3 - m36, n12 - m144, value - m144, n48 - m576, season, season_hour)

    def _judge(self, deviations: tuple[float | None, ...]) -> float:
        farthest, records, blocks = self._farthest, self._records, self._blocks
        floor = self._floor()
        best = 0.0
        side = -2
        for deviation in deviations:
            side += 2
            if deviation is None:
                continue
            at, far = (side, deviation) if deviation > 0 else (side + 1, -deviation)
            if far > farthest[at]:
                farthest[at] = far
            record = records[at]
            if far <= record or far <= floor or blocks[at] < _LEAST_BLOCKS:
                continue
            record = max(record, floor)
            if far > best * record:
                best = far / record
                self.feature = _FEATURES[at // 2]
                self.record = record
                self.rising = at == side
        return best

    def _floor(self) -> float:
        return max(_FLOOR * self._size, self._least, _TINY)

    def _end_block(self, at: float) -> None:
        """Take the block's farthest into the records, and let these fade."""
        forgotten = min(_MOST_FORGOTTEN, max(0.0, at - self._block_at) / _MEMORY_S)
        self._block_at = at
        self._next = self._seen + min(_BLOCK, max(_FIRST_BLOCK, self._seen // _GROWTH))
        floor = self._floor()
        for side in range(_SIDES):
            if self._farthest[side] < 0 and side >= _SIDES - 4:
                # No season was believed in this block.
                continue
            far = math.log(max(self._farthest[side], floor))
            self._farthest[side] = -1.0
            count = self._blocks[side]
            self._blocks[side] = count + 1
            if count == 0:
                self._usual[side] = far
                self._records[side] = math.exp(far)
                continue
            # A series that was nothing so far has its floor as the usual, not nothing.
            usual = max(self._usual[side], math.log(floor))
            # One huge value moves the usual by no more than one that is twenty times as far.
            usual += max(_USUAL_WEIGHT, 1 / (count + 1)) * (min(far, usual + 3.0) - usual)
            self._usual[side] = usual
            record = math.log(self._records[side])
            record -= forgotten * max(record - usual, 0.0)
            self._records[side] = math.exp(max(record, far))

    def to_bytes(self) -> bytes:
        """Return the state, some 4 KB whatever was read; `from_bytes` goes on from it."""
        numbers = array(
            "d",
            [
                _VERSION,
                self._least,
                self._season_hour,
                float(self._seen),
                float(self._ignored),
                float(self._late),
                self._at,
                self._block_at,
                self._interval,
                self._size,
                float(self._next),
                self.expected,
                *(self._means or [0.0] * len(_SPANS)),
                *map(float, self._blocks),
                *self._farthest,
                *self._records,
                *self._usual,
                *self._season.state(),
            ],
        )
        if sys.byteorder == "big":
            numbers.byteswap()
        return numbers.tobytes()

    @classmethod
    def from_bytes(cls, state: bytes) -> Detector:
        """Return the detector that `to_bytes` was called on (`InvalidInput` if it is no state)."""
        found = cls()
        sizes = (len(_SPANS), _SIDES, _SIDES, _SIDES, _SIDES)
        wanted = 12 + sum(sizes) + found._season.size
        numbers = array("d")
        if len(state) != wanted * numbers.itemsize:
            raise InvalidInput(
                f"The state of a detector has {len(state)} bytes, not {wanted * 8}; "
                "delete it, and the series is learned anew."
            )
        numbers.frombytes(state)
        if sys.byteorder == "big":
            numbers.byteswap()
        values = numbers.tolist()
        if values[0] != _VERSION:
            raise InvalidInput(
                f"The state of a detector is of version {values[0]:g}, this Aegis knows "
                f"{_VERSION:g}; delete it, and the series is learned anew."
            )
        found._least, found._season_hour = values[1:3]
        found._seen, found._ignored, found._late = (int(v) for v in values[3:6])
        found._at, found._block_at, found._interval, found._size = values[6:10]
        found._next = int(values[10])
        found.expected = values[11]
        parts: list[list[float]] = []
        at = 12
        for size in sizes:
            parts.append(values[at : at + size])
            at += size
        found._means, blocks, found._farthest, found._records, found._usual = parts
        found._blocks = [int(count) for count in blocks]
        found._season.restore(values[at:])
        return found
