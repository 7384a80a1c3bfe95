"""Prices on a page, from what it says to machines (JSON-LD, microdata) and from its text.

A price is one line, `plan | amount | currency | period`: so it is compared, and learned to be
noise, as any other line is.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["MONEY", "Price", "from_json_ld", "in_text", "lines_of", "read_amount", "read_line"]

_SYMBOLS = {
    "US$": "USD", "CA$": "CAD", "C$": "CAD", "AU$": "AUD", "A$": "AUD", "NZ$": "NZD", "R$": "BRL",
    "HK$": "HKD", "S$": "SGD", "MX$": "MXN", "$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY",
    "￥": "JPY", "円": "JPY", "元": "CNY", "₹": "INR", "Rs.": "INR", "₩": "KRW", "₽": "RUB",
    "₺": "TRY", "₪": "ILS", "₴": "UAH", "฿": "THB", "₫": "VND", "zł": "PLN", "Kč": "CZK",
    "kr.": "DKK", "kr": "SEK", "Fr.": "CHF", "Ft": "HUF", "lei": "RON",
}  # fmt: skip
_CODES = (
    "USD|EUR|GBP|JPY|CNY|INR|KRW|RUB|TRY|ILS|UAH|THB|VND|PLN|CZK|DKK|SEK|NOK|CHF|HUF|RON|CAD|AUD|"
    "NZD|BRL|HKD|SGD|MXN|ZAR|AED|SAR|TWD|IDR|MYR|PHP"
)
_MARKS = "|".join(re.escape(mark) for mark in sorted(_SYMBOLS, key=len, reverse=True))
_NUMBER = r"\d{1,3}(?:[.,'’  ]\d{3})+(?:[.,]\d{1,2})?(?!\d)|\d+(?:[.,]\d+)?"
#: An amount with its currency before or after it.
MONEY = re.compile(
    rf"(?<![\w.,])(?P<before>{_CODES}|{_MARKS})\s?(?P<a>{_NUMBER})"
    rf"|(?<![\w.,$€£])(?P<b>{_NUMBER})(?:,-|\.-|[.,]?[–—])?\s?"
    rf"(?P<after>{_CODES}|{_MARKS})(?![\w])"
)
#: In every text that names money. Its alternatives begin with letters, so that most of a text is
#: passed over at once, which `MONEY` looks at twice.
_MARKED = re.compile(f"{_CODES}|{_MARKS}")
_FREE = re.compile(
    r"(free|free forever|kostenlos|gratis|gratuit|gratuito|grátis|za darmo|бесплатно|無料|免费)"
    r"[.!]?",
    re.IGNORECASE,
)
_PERIODS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        (
            "month",
            r"(?:/|\bper\b|\bpro\b|\bpar\b|\bpor\b|\bal\b|\ba\b|\bje\b|\bza\b|\b)\s*"
            r"(?:mo\b|mth\b|months?\b|monthly\b|monat(?:lich)?\b|mois\b|mes\b|mensual\b|mensuel\b|"
            r"mese\b|mês\b|miesiąc\b|maand\b|måned\b|månad\b|мес|か?月)",
        ),
        (
            "year",
            r"(?:/|\b)\s*(?:yr\b|years?\b|annually\b|yearly\b|annum\b|jahr\b|jährlich\b|an\b|"
            r"année\b|año\b|anno\b|ano\b|rok\b|jaar\b|år\b|год|年)",
        ),
        ("week", r"(?:/|\b)\s*(?:wk\b|weeks?\b|woche\b|semaine\b|semana\b|週)"),
        ("day", r"(?:/|\b)\s*(?:days?\b|tag\b|jour\b|día\b)"),
        ("hour", r"(?:/|\b)\s*(?:hr\b|hours?\b|stunde\b|heure\b|hora\b)"),
    )
)
#: A period stands behind one of these, or alone: "10 seats" in the next line is no period.
_LEADS = re.compile(
    r"\s*(?:/|(?:per|pro|par|por|al|a|je|za|each|every|monthly|yearly|annually|weekly|"
    r"monatlich|jährlich|mensual|mensuel|か?月|年)\b|月|年)",
    re.IGNORECASE,
)
_USER = re.compile(
    r"(?:/|\b(?:per|pro|par|por|je|a|each|and|und|et|y|e)\b)\s*(users?|seats?|members?|nutzer|benutzer|utilisateur|usuario|utente|agent|editor)\b",
    re.IGNORECASE,
)
_MOST_TEXT = 2_000_000
_MOST_NODES = 20_000
_MOST_PRICES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One price of a plan or a product."""

    plan: str
    amount: Decimal
    #: ISO 4217, empty where the page does not say.
    currency: str
    #: `month`, `year`, `month/user`, …; empty where the page does not say.
    period: str

    @property
    def line(self) -> str:
        """Return it as it is stored and compared."""
        plan = " ".join(self.plan.replace("|", "/").split())
        return f"{plan} | {_plain(self.amount)} | {self.currency} | {self.period}"


def read_line(line: str) -> Price | None:
    """Return the price that a stored line holds, None for none."""
    parts = [part.strip() for part in f" {line} ".split(" | ")]
    if len(parts) != 4:
        return None
    try:
        amount = Decimal(parts[1])
    except InvalidOperation:
        return None
    return Price(plan=parts[0], amount=amount, currency=parts[2], period=parts[3])


def lines_of(prices: Iterable[Price]) -> tuple[str, ...]:
    """Return prices as lines, each once, in their order."""
    return tuple(dict.fromkeys(price.line for price in list(prices)[:_MOST_PRICES]))


def read_amount(text: str, currency: str) -> Decimal | None:
    """Return the number that an amount is, whichever way it is punctuated."""
    digits = re.sub(r"[^\d.,]", "", text).strip(".,")
    if not digits:
        return None
    last = max(digits.rfind("."), digits.rfind(","))
    if last >= 0:
        mark, tail = digits[last], digits[last + 1 :]
        both = "." in digits and "," in digits
        dotted = currency in ("USD", "GBP", "JPY", "CNY", "INR", "CAD", "AUD", "")
        # 1.299 is a thousand and more, 0.002 and $1.125 are not.
        thousands = len(tail) == 3 and not both and not digits.startswith("0")
        if mark == "." and dotted and digits.count(".") == 1:
            thousands = False
        if thousands or digits.count(mark) > 1:
            digits = re.sub(r"[.,]", "", digits)
        else:
            digits = re.sub(r"[.,]", "", digits[:last]) + "." + tail
    try:
        amount = Decimal(digits)
    except InvalidOperation:
        return None
    return amount if amount < Decimal(10) ** 12 else None


def in_text(text: str, *, plan: str, after: str = "", free: bool = False) -> Iterator[Price]:
    """Yield the prices that a line of text names; `after` is the line that follows it."""
    found = list(MONEY.finditer(text)) if _MARKED.search(text) else []
    for number, match in enumerate(found):
        mark = match["before"] or match["after"]
        currency = _SYMBOLS.get(mark, mark)
        amount = read_amount(match["a"] or match["b"], currency)
        if amount is None:
            continue
        end = found[number + 1].start() if number + 1 < len(found) else len(text)
        rest = text[match.end() : end]
        last = number + 1 == len(found)
        if last and len(after) <= 60 and _LEADS.match(after) and not MONEY.search(after):
            rest += " " + after
        yield Price(plan=plan, amount=amount, currency=currency, period=_period(rest))
    if free and not found and _FREE.fullmatch(text):
        yield Price(plan=plan, amount=Decimal(0), currency="", period="")


def from_json_ld(texts: Sequence[str]) -> Iterator[Price]:
    """Yield the offers of JSON-LD documents; what is none of them is passed over."""
    for text in texts:
        if len(text) > _MOST_TEXT:
            continue
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            continue
        yield from _offers(document)


def _offers(document: Any) -> Iterator[Price]:
    # A stack, as a stranger's document may be nested as deep as it likes.
    stack: list[tuple[Any, str]] = [(document, "")]
    seen = 0
    while stack and seen < _MOST_NODES:
        seen += 1
        node, name = stack.pop()
        if isinstance(node, list):
            stack += [(part, name) for part in reversed(cast("list[Any]", node))]
        elif isinstance(node, dict):
            known = cast("dict[str, Any]", node)
            own = known.get("name")
            name = own if isinstance(own, str) and own.strip() else name
            yield from _offer(known, name)
            stack += [(part, name) for part in reversed(known.values())]


def _offer(node: dict[str, Any], name: str) -> Iterator[Price]:
    currency = str(node.get("priceCurrency") or "").upper()[:3]
    for key in ("price", "lowPrice", "highPrice"):
        given = node.get(key)
        if not isinstance(given, str | int | float) or isinstance(given, bool):
            continue
        amount = _exact(str(given), currency)
        if amount is not None:
            plan = name if key == "price" else f"{name} ({key[:-5]})"
            unit = node.get("unitText") or node.get("billingDuration") or ""
            period = _period(f"/{unit}") if isinstance(unit, str) else ""
            yield Price(plan=plan, amount=amount, currency=currency, period=period)


def _exact(text: str, currency: str) -> Decimal | None:
    # Machines are told a number with a point, most of the time.
    if re.fullmatch(r"\d{1,12}(\.\d{1,8})?", text.strip()):
        return Decimal(text.strip())
    return read_amount(text[:40], currency)


def _period(text: str) -> str:
    near = text[:80]
    units = {"mon": "month", "ann": "year"}
    short = units.get(near.strip("/ ").lower())
    span = short or next((name for name, pattern in _PERIODS if pattern.search(near)), "")
    user = "user" if _USER.search(near) else ""
    return "/".join(part for part in (span, user) if part)


def _plain(amount: Decimal) -> str:
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
