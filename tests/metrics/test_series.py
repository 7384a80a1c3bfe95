"""CSV in, PNG out, and what is refused on the way."""

from __future__ import annotations

import math
import struct
import zlib
from typing import TYPE_CHECKING

import pytest

from aegis.errors import InvalidInput
from aegis.metrics.detecting import detect
from aegis.metrics.plot import draw
from aegis.metrics.series import read_csv

if TYPE_CHECKING:
    from pathlib import Path


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "series.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_are_found_by_name_or_are_the_first_two(tmp_path: Path) -> None:
    text = "host,value,timestamp\na,1.5,2014-02-14 14:30:00\na,,2014-02-14T16:35:00+02:00\n"
    first, second = read_csv(written(tmp_path, text))
    assert first == (1_392_388_200.0, 1.5)
    assert second[0] == 1_392_388_500.0
    assert math.isnan(second[1])
    assert list(read_csv(written(tmp_path, "10,2\n\n11,3\n"))) == [(10.0, 2.0), (11.0, 3.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timestamp,value\nsoon,1\n", "line 2: 'soon' is no time"),
        ("timestamp,value\n2026-01-01,many\n", "line 2: 'many' is no number"),
        ("timestamp,value\n2026-01-01\n", "line 2: 1 column"),
        ("timestamp\n", "has one column"),
        ("inf,1\n", "'inf' is no time"),
        ("1," + "9" * 2_000 + "\n", "longer than 1,000"),
    ],
)
def test_what_is_no_series_is_refused_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        list(read_csv(written(tmp_path, text)))


def test_a_file_that_is_missing_or_binary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No such file"):
        list(read_csv(tmp_path / "none.csv"))
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="not UTF-8"):
        list(read_csv(tmp_path / "b.csv"))


@pytest.mark.parametrize(
    "wrong", [{"ratio": 0.5}, {"ratio": math.nan}, {"least": -1}, {"limit": 0}]
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        detect([], **wrong)


def pixels(png: bytes) -> tuple[int, int, bytes]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    at, data = 8, b""
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        kind, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        (check,) = struct.unpack(">I", png[at + 8 + size : at + 12 + size])
        assert zlib.crc32(kind + body) == check
        data += body if kind == b"IDAT" else b""
        at += 12 + size
    return width, height, zlib.decompress(data)


def test_a_picture_shows_the_series_and_its_incidents() -> None:
    points = [(300.0 * n, 50.0 + n % 7) for n in range(1_000)]
    points[800] = (300.0 * 800, 500.0)
    found = detect(points)
    assert len(found.incidents) == 1
    times, values = [at for at, _ in points], [value for _, value in points]
    width, height, rows = pixels(draw(times, values, found.incidents, title="a series"))
    assert len(rows) == height * (1 + width * 3)
    plain = pixels(draw(times, values, [], title="a series"))[2]
    marked = bytes((200, 30, 45))
    assert marked in rows
    assert marked not in plain


@pytest.mark.parametrize(
    "values",
    [[], [1.0], [math.nan] * 5, [3.0] * 5, [-1e150, 1e150, 0.0], [1e-300, 2e-300], [1e15, 1e15]],
)
def test_any_series_can_be_drawn(values: list[float]) -> None:
    times = [float(n) for n in range(len(values))]
    assert draw(times, values, [], title="ä odd").startswith(b"\x89PNG")
