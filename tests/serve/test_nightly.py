"""Consolidation at night: when, and that one failure does not keep it from the rest."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.client import Aegis
from aegis.config import load_settings
from aegis.errors import ConfigError, Unavailable
from aegis.serve.nightly import consolidate_all, consolidate_nightly, seconds_until

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database


_LAST = datetime.fromisoformat("9000-01-01")


@given(st.datetimes(timezones=st.just(UTC), max_value=_LAST), st.times())
def test_the_next_hour_is_within_a_day_and_is_that_hour(now: datetime, at: Any) -> None:
    text = f"{at.hour:02d}:{at.minute:02d}"
    left = seconds_until(text, now)
    assert 0 < left <= 86_400
    then = now + timedelta(seconds=left)
    assert abs((then - then.replace(hour=at.hour, minute=at.minute, second=0)).total_seconds()) < 1


def test_an_hour_that_is_none_is_refused() -> None:
    for text in ("25:00", "3:30", "midnight", "03:60"):
        with pytest.raises(ConfigError, match="AEGIS_CONSOLIDATE_AT"):
            load_settings({"AEGIS_CONSOLIDATE_AT": text})
    assert load_settings({"AEGIS_CONSOLIDATE_AT": "off"}).consolidate_at == "off"
    with pytest.raises(ConfigError, match="AEGIS_CONSOLIDATE_ACCEPT_FROM"):
        load_settings({"AEGIS_CONSOLIDATE_ACCEPT_FROM": "1.5"})


async def test_off_means_never(db: Database, settings: Settings) -> None:
    await consolidate_nightly(Aegis(db, None, replace(settings, consolidate_at="off")))


async def test_every_namespace_has_its_turn_whatever_fails_in_another(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Aegis(db, None, settings)
    for place in ("a", "b", "c"):
        for word in ("again", "once more", "at night"):
            await client.memory.record(
                "error", f"The disk of db1 filled up {word}.", namespace=place
            )
    assert await client.memory.consolidation.namespaces() == ["a", "b", "c"]
    run = client.memory.consolidation.run

    async def fails_in_b(*, namespace: str) -> Any:
        if namespace == "b":
            raise Unavailable("not now")
        return await run(namespace=namespace)

    monkeypatch.setattr(client.memory.consolidation, "run", fails_in_b)
    assert await consolidate_all(client) == 2
    assert await client.memory.consolidation.namespaces() == ["b"]
