"""`aegis sessions prices`: what models cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson
from aegis.cli.running import maybe_time, with_client

if TYPE_CHECKING:
    from aegis.client import Aegis

__all__ = ["app"]

app = App("What models cost, USD for a million tokens.")


@app.add
def list_(as_json: AsJson = False) -> None:
    """List prices, with the day on which each was looked up."""
    from aegis.cli.render import show_json, table, when
    from aegis.wire.plain import plain

    items: Any = plain(with_client(lambda a: a.sessions.prices.list()))
    if as_json:
        show_json({"items": items})
        return
    table(
        ["model", "from", "input", "output", "write 5m", "write 1h", "read", "known on", "note"],
        [
            [
                item["model"],
                when(item["valid_from"]),
                *(
                    f"{float(item[f'{name}_usd']):g}"
                    for name in (
                        "input",
                        "output",
                        "cache_write_5m",
                        "cache_write_1h",
                        "cache_read",
                    )
                ),
                item["known_on"] or "?",
                item["note"] or "",
            ]
            for item in items
        ],
        wide="note",
        empty="There is no price; what sessions cost is not known.",
    )


@app.add
def set(
    model: Annotated[str, Argument(metavar="MODEL", help="Beginning of the model's name.")],
    input: Annotated[str, Option(help="USD for a million tokens read.")],
    output: Annotated[str, Option(help="USD for a million tokens written.")],
    cache_write_5m: Annotated[str | None, Option(help="1.25 times input otherwise.")] = None,
    cache_write_1h: Annotated[str | None, Option(help="Twice input otherwise.")] = None,
    cache_read: Annotated[str | None, Option(help="A tenth of input otherwise.")] = None,
    since: Annotated[str | None, Option("--from", help="From this time on; now otherwise.")] = None,
    note: Annotated[str | None, Option(help="Where it is from.")] = None,
) -> None:
    """Set a price from a time on; sessions that it holds for are worked out anew."""
    from datetime import UTC, datetime
    from decimal import Decimal

    from aegis.cli.render import line
    from aegis.sessions.models import ModelPrice
    from aegis.sessions.prices import usd

    read = usd("--input", input)

    def part(name: str, text: str | None, factor: str) -> Decimal:
        return read * Decimal(factor) if text is None else usd(name, text)

    price = ModelPrice(
        model=model,
        valid_from=maybe_time("from", since) or datetime.now(UTC),
        input_usd=read,
        output_usd=usd("--output", output),
        cache_write_5m_usd=part("--cache-write-5m", cache_write_5m, "1.25"),
        cache_write_1h_usd=part("--cache-write-1h", cache_write_1h, "2"),
        cache_read_usd=part("--cache-read", cache_read, "0.1"),
        note=note,
    )

    async def work(client: Aegis) -> int:
        return await client.sessions.prices.put(price)

    line(f"{model} is priced; {with_client(work)} session(s) worked out anew.")
