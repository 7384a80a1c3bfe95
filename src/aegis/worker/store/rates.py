"""SQL of the rates of providers: one row each, shared by all workers (GCRA).

`free_at` is the theoretical arrival time of the generic cell rate algorithm (ITU-T I.371): each
call moves it on by one interval, and may be made once it is no more than the burst ahead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.db import execute, fetch_all, fetch_value
from aegis.worker.models import ProviderRate

if TYPE_CHECKING:
    from aegis.db import Connection

__all__ = ["delete_rate", "list_rates", "reserve", "set_rate"]


async def reserve(conn: Connection, provider: str) -> float:
    """Reserve one call and return the seconds to wait before it; 0 where no rate is set."""
    value = await fetch_value(
        conn,
        """
        UPDATE provider_rates
        SET free_at = greatest(free_at, clock_timestamp())
                      + make_interval(secs => 60 / per_minute)
        WHERE provider = %(provider)s
        RETURNING greatest(
            extract(epoch FROM free_at - clock_timestamp()) - burst * 60 / per_minute, 0
        )::float8
        """,
        {"provider": provider},
    )
    return 0.0 if value is None else float(value)


async def set_rate(conn: Connection, rate: ProviderRate) -> None:
    """Set how often a provider may be asked."""
    await execute(
        conn,
        """
        INSERT INTO provider_rates (provider, per_minute, burst)
        VALUES (%(provider)s, %(per_minute)s, %(burst)s)
        ON CONFLICT (provider) DO UPDATE
        SET per_minute = excluded.per_minute,
            burst = excluded.burst,
            -- What was reserved at a slower rate must not be waited for.
            free_at = least(provider_rates.free_at, now())
        """,
        {"provider": rate.provider, "per_minute": rate.per_minute, "burst": rate.burst},
    )


async def delete_rate(conn: Connection, provider: str) -> bool:
    """Lift a rate; False where there was none."""
    return bool(
        await execute(
            conn,
            "DELETE FROM provider_rates WHERE provider = %(provider)s",
            {"provider": provider},
        )
    )


async def list_rates(conn: Connection) -> list[ProviderRate]:
    """Return the rates, by provider."""
    return await fetch_all(
        conn,
        ProviderRate,
        "SELECT provider, per_minute, burst FROM provider_rates ORDER BY provider",
    )
