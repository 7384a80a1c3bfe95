"""`aegis research prices list|set`: what providers cost, from which day on, and who says so."""

from __future__ import annotations

from typing import Annotated, Any

from aegis.cli.command import App, Argument, Option
from aegis.cli.options import AsJson
from aegis.cli.running import with_client

__all__ = ["app"]

app = App("What providers of research cost, from which day on, and who says so.")


@app.add
def list_(
    provider: Annotated[str | None, Option(help="Of this provider alone.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the prices that are known."""
    from aegis.cli.render import show_json, table
    from aegis.wire.plain import plain

    items: list[dict[str, Any]] = plain(with_client(lambda a: a.research.prices(provider=provider)))
    if as_json:
        show_json({"items": items})
        return
    table(
        ["provider", "model", "meter", "from", "USD", "for", "source", "read"],
        [
            [
                p["provider"],
                p["model"],
                p["meter"],
                p["valid_from"],
                _plain(p["usd"]),
                f"{p['per']:,}",
                p["source"],
                p["source_date"],
            ]
            for p in items
        ],
        wide="source",
        empty="No price is known.",
    )


@app.add
def set_(
    provider: Annotated[str, Argument(metavar="PROVIDER", help="gemini, perplexity or claude.")],
    model: Annotated[
        str, Argument(metavar="MODEL", help="Beginning of the names of its models; longest wins.")
    ],
    meter: Annotated[
        str, Argument(metavar="METER", help="input_tokens, output_tokens, searches, …")
    ],
    usd: Annotated[str, Argument(metavar="USD", help="US dollars for so many as --per says.")],
    source: Annotated[str, Option(help="Who says so, such as the address of a price list.")],
    per: Annotated[int, Option(help="How many of the meter the price is for.")] = 1_000_000,
    valid_from: Annotated[str | None, Option(help="From this day on, 2026-12-01.")] = None,
    source_date: Annotated[str | None, Option(help="When it was read there.")] = None,
    as_json: AsJson = False,
) -> None:
    """Store a price; jobs that have started keep the price of their day."""
    from aegis.cli.render import line, show_json

    begin, read = _day("--valid-from", valid_from), _day("--source-date", source_date)
    price = with_client(
        lambda a: a.research.set_price(
            provider,
            model,
            meter,
            usd,
            per=per,
            source=source,
            valid_from=begin,
            source_date=read,
        )
    )
    if as_json:
        show_json(price)
    else:
        line(
            f"{price.provider} {price.model}*: {price.meter} {_plain(str(price.usd))} USD for "
            f"{price.per:,} from {price.valid_from} on."
        )


def _day(name: str, text: str | None) -> Any:
    from datetime import date

    from aegis.errors import InvalidInput

    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{name} is {text!r}; write a day such as 2026-12-01.") from None


def _plain(text: str) -> str:
    from decimal import Decimal

    return f"{Decimal(text).normalize():f}"
