"""`aegis metrics …`: newest figures, charts, upkeep, and any series through the detector."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import aegis as library
from aegis.metrics.models import Sample

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Shell


def fill(dsn: str) -> None:
    now = datetime.now(UTC)

    async def work() -> None:
        async with library.connect(dsn) as a:
            await a.metrics.record(
                [
                    Sample(
                        container_name="web",
                        timestamp=now - timedelta(minutes=n),
                        cpu_percent=float(n),
                    )
                    for n in range(60)
                ]
            )

    asyncio.run(work())


def test_containers_are_shown_and_charted(aegis: Shell, dsn: str) -> None:
    fill(dsn)
    kept = aegis("metrics", "keep", "--json").json
    assert kept["minutes"] >= 60
    shown = aegis("metrics", "show")
    assert (shown.status, "web" in shown.out) == (0, True)
    (item,) = aegis("metrics", "show", "--json").json["items"]
    assert (item["cpu_percent"], item["mem_percent"]) == (0.0, None)
    chart = aegis("metrics", "chart", "web")
    assert "highest 59.00" in chart.out
    assert "█" in chart.out
    points = aegis("metrics", "chart", "web", "--json").json["points"]
    assert max(point["highest"] for point in points) == 59.0
    assert "Nothing was measured" in aegis("metrics", "chart", "other").err
    wrong = aegis("metrics", "chart", "web", "--metric", "ram")
    assert (wrong.status, "use one of cpu_percent" in wrong.err) == (2, True)


def test_a_series_is_judged_and_drawn(aegis: Shell, tmp_path: Path) -> None:
    rows = [f"{1_700_000_000 + 300 * n},{50 + n % 7}" for n in range(1_000)]
    rows[800] = f"{1_700_000_000 + 300 * 800},500"
    path, picture = tmp_path / "series.csv", tmp_path / "series.png"
    path.write_text("timestamp,value\n" + "\n".join(rows))
    found = aegis("metrics", "detect", str(path), "--plot", str(picture), "--json")
    (incident,) = found.json["incidents"]
    assert (incident["kind"], incident["observed"]) == ("spike", 500)
    assert incident["started_at"] == "2023-11-17T16:53:20+00:00"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "rose to 500" in aegis("metrics", "detect", str(path)).out
    missing = aegis("metrics", "detect", str(tmp_path / "none.csv"))
    assert (missing.status, "No such file" in missing.err) == (2, True)
