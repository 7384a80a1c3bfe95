"""One incident is one alert: when it opens, grows, ends, and is learned."""

from __future__ import annotations

import random

from aegis.metrics.watch import Incident, Watch

START = 1_700_000_100.0


def noise(count: int, seed: int = 1, level: float = 50.0) -> list[float]:
    rng = random.Random(seed)
    return [level + rng.gauss(0, 2) for _ in range(count)]


def run(values: list[float]) -> list[Incident]:
    """Return each incident as it was last seen."""
    watch, found = Watch(), dict[int, Incident]()
    for number, value in enumerate(values):
        watch.update(START + 300.0 * number, value)
        if watch.incident is not None:
            found[watch.incident.number] = watch.incident
    return list(found.values())


def test_a_spike_of_many_values_is_one_incident_that_ends() -> None:
    (incident,) = run([*noise(1_000), 90.0, 95.0, 99.0, 97.0, *noise(300, seed=2)])
    assert incident.kind == "spike"
    assert incident.observed == 99.0
    assert incident.started_at == START + 300.0 * 1_000
    assert incident.ended_at is not None
    assert incident.low < 50 < incident.high < 90
    assert "rose to 99, expected about 49." in incident.explanation


def test_a_shift_is_one_incident_and_then_the_new_normal() -> None:
    (incident,) = run([*noise(1_000), *noise(1_500, seed=2, level=90.0)])
    assert incident.kind == "level_shift"
    assert incident.ended_at is not None
    assert incident.values < 300


def test_a_storm_of_spikes_is_one_incident() -> None:
    values = noise(1_500)
    for number in range(1_000, 1_300, 20):
        values[number] = 95.0
    assert len(run(values)) == 1


def test_a_fall_is_a_drop_and_its_severity_grows_with_it() -> None:
    (incident,) = run([*noise(1_000), 30.0, 5.0, 5.0, *noise(100, seed=2)])
    assert (incident.kind, incident.severity) == ("drop", "critical")
    assert "fell to 5" in incident.explanation


def test_a_series_that_stands_still_is_a_flat_line_until_it_moves() -> None:
    values = [*noise(1_000), *([50.5] * 100), *noise(50, seed=2)]
    (incident,) = run(values)
    assert incident.kind == "flatline"
    assert incident.started_at == START + 300.0 * 1_000
    assert incident.ended_at == START + 300.0 * 1_100
    assert run([50.5] * 2_000) == []


def test_values_that_are_no_numbers_and_late_ones_make_no_incident() -> None:
    watch = Watch()
    for number, value in enumerate(noise(1_000)):
        watch.update(START + 300.0 * number, value)
        assert watch.update(START, 1e9) is None
        assert watch.update(START + 300.0 * number, float("nan")) is None
    assert watch.incident is None
