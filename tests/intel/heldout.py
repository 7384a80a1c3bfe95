"""Other pages than `corpus` has, to judge by what nothing was tuned on: lists, grids, rankings.

Written before the comparing of lines without their order; noise here is, beside counters and what
comes and goes, parts that stand in another order each time.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["CHANGES", "NOISES", "HeldOut", "held_out"]

_TEXTS = {
    "it": (
        "Il modo più semplice per gestire il magazzino",
        "Un nuovo modo per gestire il magazzino",
        ("Inventario in tempo reale per ogni sede", "Ordini ai fornitori senza fogli di calcolo",
         "Lettori di codici a barre già compresi", "Avvisi quando la merce sta per finire",
         "Resi e garanzie in un solo posto", "Un registro che il revisore capisce",
         "Accesso per i trasportatori", "Collegamento con la contabilità"),
        "{n} aziende lo usano", "Spazio compreso: {n} GB", "Domanda: serve un contratto? No.",
        "{a} € al mese",
    ),
    "nl": (
        "Plan uw ploegen zonder gedoe", "Plan uw hele bedrijf zonder gedoe",
        ("Roosters die rekening houden met wensen", "Ruilen van diensten via de telefoon",
         "Uren gaan vanzelf naar de loonadministratie", "Verlof aanvragen en goedkeuren",
         "Ziekmelding met een enkele knop", "Overzicht van overuren per ploeg",
         "Koppeling met de prikklok", "Rechten per vestiging"),
        "{n} mensen bekijken dit nu", "Inbegrepen opslag: {n} GB",
        "Vraag: is er een proefperiode? Ja.", "€ {a} per maand",
    ),
    "en": (
        "Invoices that chase themselves", "Invoices that pay themselves",
        ("Reminders in the customer's own language", "Bank feeds matched to what is open",
         "Partial payments and credit notes", "A portal in which customers dispute a line",
         "Approval chains for amounts above a limit", "Exports that the tax office accepts",
         "Late fees where the law allows them", "Statements sent on the first of the month"),
        "{n} teams signed up this week", "Storage included: {n} GB",
        "Question: can we pay by transfer? Yes.", "${a} per month",
    ),
}  # fmt: skip
CHANGES = {
    "item added": "content",
    "item removed": "content",
    "item replaced": "content",
    "limit": "content",
    "question": "content",
    "headline": "content",
    "title": "title",
    "price": "price",
    "navigation": "structure",
    "order": "structure",
}
NOISES = (
    "none", "shuffled items", "shuffled parts", "views", "related", "nonces",
    "shuffled items and views", "advertisement", "two orders",
)  # fmt: skip
_LAYOUTS = ("grid", "list", "definitions", "ranking", "changelog", "table")
_SHUFFLED = frozenset({"shuffled items", "shuffled items and views", "two orders"})


@dataclass(frozen=True)
class _Says:
    items: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    limit: int = 50
    question: bool = False
    headline: int = 0
    title: str = "Contoso"
    cents: int = 4_900
    nav: int = 3


def _changed(says: _Says, change: str) -> _Says:
    items = says.items
    changes: dict[str, dict[str, Any]] = {
        "item added": {"items": (*items, 6)},
        "item removed": {"items": items[:-1]},
        "item replaced": {"items": (*items[:-2], 7, items[-1])},
        "limit": {"limit": 75},
        "question": {"question": True},
        "headline": {"headline": 1},
        "title": {"title": "Contoso Next"},
        "price": {"cents": 5_900},
        "navigation": {"nav": 4},
        "order": {"items": (items[3], items[0], items[1], items[5], items[2], items[4])},
    }
    return replace(says, **changes[change])


@dataclass
class HeldOut:
    """One page over time, as `corpus.Case`."""

    name: str
    layout: str
    language: str
    page_type: str
    noise: str
    change: str | None
    seed: int
    turned: bool = False
    fetches: int = 0
    _rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)

    @property
    def expected(self) -> str | None:
        """Return the type of change that must be told."""
        return None if self.change is None else CHANGES[self.change]

    def serve(self) -> str:
        """Return the page as it is served this time."""
        self.fetches += 1
        says = _Says()
        if self.turned and self.change is not None:
            says = _changed(says, self.change)
        return self._page(says)

    def _page(self, says: _Says) -> str:
        head, other, lines, counted, storage, question, money = _TEXTS[self.language]
        rng, noise = self._rng, self.noise
        items = list(says.items)
        if noise in ("shuffled items", "shuffled items and views"):
            rng.shuffle(items)
        elif noise == "two orders" and rng.random() < 0.5:
            items = items[3:] + items[:3]
        amount = f"{says.cents / 100:.2f}" if says.cents % 100 else f"{says.cents // 100}"
        extra = f"<p>{question}</p>" if says.question else ""
        sections = [
            f"<section><h2>{n}. Contoso</h2>{body}</section>"
            for n, body in enumerate(
                (
                    _LISTS[self.layout]([lines[item] for item in items]),
                    f"<p>{storage.format(n=says.limit)}</p>{extra}",
                    f"<p class=price>{money.format(a=amount)}</p>",
                    f"<p>{head[::-1].capitalize()}, {lines[0].lower()}.</p>",
                )
            )
        ]
        if noise == "shuffled parts":
            rng.shuffle(sections)
        nonce = f"{rng.getrandbits(64):016x}" if noise == "nonces" else "0"
        names = ("Home", "Contoso A", "Contoso B", "Contoso C")[: says.nav]
        links = "".join(f"<a href=/{n}?s={nonce}>{name}</a>" for n, name in enumerate(names))
        return (
            f"<!doctype html><html lang={self.language}><head><title>{says.title}</title>"
            f'<meta name="csrf-token" content="{nonce}"><script nonce="{nonce}">x()</script>'
            f"</head><body data-request='{nonce}'><header><nav>{links}</nav></header>"
            f"<main id=m{nonce}><h1>{other if says.headline else head}</h1>{''.join(sections)}"
            f"{self._beside(lines, counted)}</main>"
            f"<footer><p>© 2026 Contoso</p></footer></body></html>"
        )

    def _beside(self, lines: tuple[str, ...], counted: str) -> str:
        rng, noise = self._rng, self.noise
        parts: list[str] = []
        if noise in ("views", "shuffled items and views"):
            parts.append(f"<p>{counted.format(n=100 + rng.randrange(9_000))}</p>")
        if noise == "related":
            for number in rng.sample(range(8), 2):
                parts.append(f"<aside><p>→ {lines[number].upper()}</p></aside>")
        if noise == "advertisement" and rng.random() < 0.5:
            parts.append(f"<div><p>Fabrikam {rng.choice(('I', 'II', 'III'))}: wow</p></div>")
        return "".join(parts)


def _table(items: list[str]) -> str:
    rows = "".join(f"<tr><td>{item}</td><td>✓</td></tr>" for item in items)
    return f"<table><tr><th>A</th><th>B</th></tr>{rows}</table>"


_LISTS: dict[str, Callable[[list[str]], str]] = {
    "grid": lambda items: "".join(f"<div class=card><p>{item}</p></div>" for item in items),
    "list": lambda items: f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>",
    "definitions": lambda items: (
        f"<dl>{''.join(f'<dt>{i[:12]}</dt><dd>{i}</dd>' for i in items)}</dl>"
    ),
    "ranking": lambda items: f"<ol>{''.join(f'<li>{item}</li>' for item in items)}</ol>",
    "changelog": lambda items: "".join(f"<article><h3>{i}</h3></article>" for i in items),
    "table": _table,
}


def held_out() -> Iterator[HeldOut]:
    """Yield real changes and, for each, a page of the same kind that only has its noise."""
    seeds = itertools.count(90_001)
    languages = itertools.cycle(_TEXTS)
    for layout, change, noise in itertools.product(_LAYOUTS, CHANGES, NOISES):
        # Where the order is noise, another one is no news.
        if change == "order" and noise in _SHUFFLED:
            continue
        seed = next(seeds)
        if seed % 2:
            continue
        language = next(languages)
        for what in (change, None):
            yield HeldOut(
                name=f"{layout}/{language}/{noise}/{what or 'nothing'}/{seed}",
                layout=layout,
                language=language,
                page_type="features" if layout == "grid" else "other",
                noise=noise,
                change=what,
                seed=seed,
            )
