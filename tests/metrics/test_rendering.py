"""Samples as COPY takes them in binary: every figure, name and time comes back as it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.errors import InvalidInput
from aegis.metrics.models import Sample
from aegis.metrics.rendering import BEGIN, END, render, sort
from aegis.metrics.store.samples import copy_samples

if TYPE_CHECKING:
    from aegis.db import Connection

NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)


def _ago(passed: timedelta, zone: tzinfo) -> datetime:
    return (NOW - passed).astimezone(zone)


figures = st.none() | st.floats(0, 1e15) | st.integers(0, 10**15)
names = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=100
).filter(lambda name: bool(name.strip()))
samples = st.builds(
    Sample,
    container_name=names,
    timestamp=st.builds(_ago, st.timedeltas(timedelta(0), timedelta(days=30)), st.timezones()),
    cpu_percent=figures,
    mem_usage_mb=figures,
    mem_percent=figures,
    net_io_mb=figures,
    block_io_mb=figures,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(samples, max_size=20), st.integers(1, 7))
def test_parts_hold_every_sample_once(given_samples: list[Sample], size: int) -> None:
    found = sort(given_samples, now=NOW, keep_days=30)
    assert sorted(map(id, given_samples)) == sorted(
        id(one) for day in found.days.values() for one in day
    )
    for day, of_day in found.days.items():
        assert {one.timestamp.astimezone(UTC).date() for one in of_day} == {day}
        whole = b"".join(render(of_day, size=len(of_day)))
        assert b"".join(render(of_day, size=size)) == whole


async def test_server_reads_what_was_given(conn: Connection) -> None:
    await conn.execute("CREATE TEMPORARY TABLE got (LIKE container_metrics)")
    await conn.execute("ALTER TABLE got ALTER id DROP NOT NULL")
    at = datetime(2026, 5, 20, 11, 59, 59, 123_457, tzinfo=UTC)
    sent = [
        Sample(container_name="all", timestamp=at, cpu_percent=0.1, mem_usage_mb=2.0,
               mem_percent=1e15, net_io_mb=5e-324, block_io_mb=0.0),
        Sample(container_name="a\\N\tä€😀'".replace("\t", " "), timestamp=at, cpu_percent=7),
        Sample(container_name="none", timestamp=NOW - timedelta(days=29)),
        Sample(container_name="odd", timestamp=at, cpu_percent=float("nan"),
               mem_usage_mb=float("inf"), net_io_mb=3),
    ]  # fmt: skip
    await copy_samples(conn, "got", render(sent, size=2))
    cursor = await conn.execute(
        """
        SELECT container_name, timestamp, cpu_percent, mem_usage_mb, mem_percent, net_io_mb,
               block_io_mb
        FROM got
        """
    )
    assert await cursor.fetchall() == [
        ("all", at, 0.1, 2.0, 1e15, 5e-324, 0.0),
        (sent[1].container_name, at, 7.0, None, None, None, None),
        ("none", NOW - timedelta(days=29), None, None, None, None, None),
        ("odd", at, None, None, None, 3.0, None),
    ]


def test_a_figure_that_cannot_be_is_found_in_its_part() -> None:
    at = NOW - timedelta(minutes=1)
    good = [Sample(container_name="a", timestamp=at, cpu_percent=1.0)] * 3
    parts = render([*good, Sample(container_name="a", timestamp=at, cpu_percent=-1.0)], size=2)
    assert next(parts)
    with pytest.raises(InvalidInput, match="cpu_percent is -1"):
        next(parts)


def test_nothing_is_a_copy_of_no_rows() -> None:
    assert list(render([], size=5)) == []
    assert BEGIN.startswith(b"PGCOPY") and len(BEGIN) == 19 and END == b"\xff\xff"
