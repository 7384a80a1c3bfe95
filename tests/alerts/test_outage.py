"""The database itself is down: told past the outbox, once, and once when it is back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aegis.alerts.addresses import parse_addresses
from aegis.alerts.outage import Outage
from aegis.errors import InvalidInput, Unavailable
from tests.alerts.conftest import Clock, Receiver

if TYPE_CHECKING:
    from aegis.errors import AegisError


async def fails(error: AegisError) -> None:
    raise error


async def works() -> None: ...


async def test_outage_is_told_once_after_its_time_and_when_it_is_over() -> None:
    clock, receiver = Clock(), Receiver()
    addresses = parse_addresses("ops=https://a.example own=command:/bin/true")
    outage = Outage(addresses, send=receiver, now=clock, hold_s=60)
    down = Unavailable("The database does not answer at box:5432.")
    for _ in range(5):
        with pytest.raises(Unavailable):
            await outage.while_watched(fails(down))
        clock.pass_(30)
    assert [name for name, _ in receiver.got] == ["ops", "own"]
    assert "The database does not answer" in receiver.subjects[0]
    assert "box:5432" in receiver.got[0][1].body
    await outage.while_watched(works())
    await outage.while_watched(works())
    assert len(receiver.got) == 4
    assert "OK: over" in receiver.subjects[-1]


async def test_short_outage_and_other_errors_are_not_told() -> None:
    clock, receiver = Clock(), Receiver()
    outage = Outage(parse_addresses("ops=https://a.example"), send=receiver, now=clock)
    with pytest.raises(Unavailable):
        await outage.while_watched(fails(Unavailable("down")))
    clock.pass_(59)
    await outage.while_watched(works())
    clock.pass_(600)
    with pytest.raises(InvalidInput):
        await outage.while_watched(fails(InvalidInput("defect")))
    assert receiver.got == []


async def test_channel_that_failed_is_tried_again_while_the_outage_lasts() -> None:
    clock, receiver = Clock(), Receiver()
    outage = Outage(parse_addresses("ops=https://a.example"), send=receiver, now=clock, hold_s=0)
    receiver.error = Unavailable("no network")
    with pytest.raises(Unavailable):
        await outage.while_watched(fails(Unavailable("down")))
    receiver.error = None
    with pytest.raises(Unavailable):
        await outage.while_watched(fails(Unavailable("down")))
    assert len(receiver.got) == 1
