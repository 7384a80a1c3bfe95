"""Pages before and after, made from templates: what changed is known, and what only looks so.

A case serves its page as often as it is asked, each time with the noise that such pages have. After
`turn`, the page is another one (a real change) or the same one with the same noise.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tests.intel.words import WORDS, Words

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CHANGES", "NOISES", "Case", "Content", "cases"]


@dataclass(frozen=True)
class Content:
    """What a page says, beside noise."""

    language: str
    #: Name and monthly price in cents of each plan.
    plans: tuple[tuple[str, int], ...]
    seats: int = 10
    sentences: tuple[int, ...] = (0, 1, 2, 3)
    headline: bool = True
    title: str = "Acme"
    news: bool = False
    extra: bool = False
    nav: int = 2
    currency: str | None = None

    @property
    def words(self) -> Words:
        return WORDS[self.language]

    def money(self, cents: int) -> str:
        whole, rest = divmod(cents, 100)
        plain = f"{whole:,}" if rest == 0 else f"{whole:,}.{rest:02}"
        comma = plain.replace(",", " ").replace(".", ",").replace(" ", ".")
        pattern = self.currency or self.words.money
        return pattern.format(a=plain, c=comma, j=f"{whole * 100:,}")


#: Real changes by name: of which templates (None for all), and the type that must be told.
CHANGES: dict[str, tuple[str | None, str]] = {
    "price up": ("pricing", "price"),
    "price by a little": ("pricing", "price"),
    "price of one plan of three": ("pricing", "price"),
    "plan added": ("pricing", "price"),
    "plan removed": ("pricing", "price"),
    "another currency": ("pricing", "price"),
    "seats": (None, "content"),
    "sentence added": (None, "content"),
    "sentence removed": (None, "content"),
    "sentence replaced": (None, "content"),
    "one line more": (None, "content"),
    "headline": (None, "content"),
    "title": (None, "title"),
    "entry in the navigation": (None, "structure"),
    "news": ("blog", "content"),
}
NOISES = (
    "none",
    "counter",
    "clock",
    "session",
    "banner",
    "experiment",
    "testimonial",
    "ago",
    "markup",
    "all of it",
)
_TEMPLATES = ("cards", "table", "microdata", "json-ld", "article", "docs", "blog", "homepage")
_PRICED = ("cards", "table", "microdata", "json-ld")


def _changed(content: Content, change: str) -> Content:
    plans, sentences = content.plans, content.sentences
    name, cents = plans[0]
    last, most = plans[-1]
    changes: dict[str, dict[str, Any]] = {
        "price up": {"plans": ((name, cents + 1_000), *plans[1:])},
        "price by a little": {"plans": ((name, cents + 100), *plans[1:])},
        "price of one plan of three": {"plans": (*plans[:-1], (last, most - 2_000))},
        "plan added": {"plans": (*plans, ("Enterprise", 49_900))},
        "plan removed": {"plans": plans[:-1]},
        "another currency": {"currency": "£{a}"},
        "seats": {"seats": 25},
        "sentence added": {"sentences": (*sentences, 4)},
        "sentence removed": {"sentences": sentences[:-1]},
        "sentence replaced": {"sentences": (*sentences[:-1], 4)},
        "one line more": {"extra": True},
        "headline": {"headline": False},
        "title": {"title": "Acme One"},
        "entry in the navigation": {"nav": 3},
        "news": {"news": True},
    }
    return replace(content, **changes[change])


@dataclass
class Case:
    """One page over time."""

    name: str
    template: str
    page_type: str
    noise: str
    before: Content
    #: None where nothing but noise happens.
    change: str | None
    seed: int
    turned: bool = False
    fetches: int = 0
    after: Content = field(init=False)
    _rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.after = self.before if self.change is None else _changed(self.before, self.change)
        self._rng = random.Random(self.seed)

    @property
    def expected(self) -> str | None:
        """Return the type of change that must be told."""
        return None if self.change is None else CHANGES[self.change][1]

    def serve(self) -> str:
        """Return the page as it is served this time."""
        self.fetches += 1
        content = self.after if self.turned else self.before
        return _page(content, self.template, _Noise(self.noise, self._rng, self.fetches))


class _Noise:
    """What is in a page this time and not the next."""

    def __init__(self, kind: str, rng: random.Random, number: int) -> None:
        self.kind, self.rng, self.number = kind, rng, number

    def has(self, kind: str) -> bool:
        return self.kind in (kind, "all of it")

    def hash(self, length: int = 16) -> str:
        return f"{self.rng.getrandbits(4 * length):0{length}x}"

    def css(self, name: str) -> str:
        return f"{name}-{self.hash(6)}" if self.has("markup") else name

    def above(self, words: Words) -> str:
        parts: list[str] = []
        if self.has("banner") and self.rng.random() < 0.6:
            # One is named as they all are, another is not.
            name = "cookie-banner" if self.number % 2 else "x-bottom-sheet"
            parts.append(f'<div class="{name}"><p>{words.cookies}</p></div>')
        if self.has("session"):
            parts.append(f'<input type="hidden" name="csrf" value="{self.hash(40)}">')
            parts.append(f"<script>window.sid='{self.hash(32)}'</script>")
        return "".join(parts)

    def below(self, words: Words) -> str:
        parts: list[str] = []
        count = 1_000 + 37 * self.number + self.rng.randrange(30)
        if self.has("counter"):
            parts.append(f"<p>{words.viewing.format(n=count)}</p>")
        if self.has("clock"):
            day = f"2026-{1 + self.number % 12:02}-{1 + self.number % 28:02}"
            parts.append(f"<p>{words.updated.format(d=day)}</p>")
            parts.append(f"<p>{self.number % 24:02}:{self.rng.randrange(60):02} UTC</p>")
        if self.has("session"):
            parts.append(f"<p>Request {self.hash(32)}</p>")
        if self.has("testimonial"):
            parts.append(f"<blockquote>{self.rng.choice(words.quotes)}</blockquote>")
        if self.has("ago"):
            parts.append(f"<p>{words.ago.format(n=1 + self.number % 50)}</p>")
        return "".join(parts)

    def experiment(self, words: Words, *, shown: bool) -> str:
        if not self.has("experiment"):
            return ""
        variant = self.rng.random() < 0.5
        return f"<p class=cta>{words.lead} {'A+' if variant else 'Go!'}</p>" if shown else ""


def _page(content: Content, template: str, noise: _Noise) -> str:
    words = content.words
    links = "".join(
        f'<a href="/{n}">{name}</a>'
        for n, name in enumerate((*words.nav, "Enterprise")[: content.nav])
    )
    headline = words.headline if content.headline else words.other_headline
    lines = "".join(f"<p>{words.sentences[n]}</p>" for n in content.sentences)
    extra = f"<p>{words.extra}</p>" if content.extra else ""
    seats = f"<p>{words.seats.format(n=content.seats)}</p>"
    body = _BODIES[template](content, noise)
    prose = f"<section>{seats}{lines}{extra}</section>"
    gap = "\n" * (1 + noise.rng.randrange(3)) if noise.has("markup") else "\n"
    main = (
        f'<main class="{noise.css("main")}"><h1>{headline}</h1>{gap}'
        f"{noise.experiment(words, shown=True)}{body}{gap}{prose}{noise.below(words)}</main>"
    )
    ld = _json_ld(content) if template == "json-ld" else ""
    return (
        f"<!doctype html><html lang={content.language}><head><meta charset=utf-8>"
        f"<title>{content.title} – {words.plans}</title>"
        f'<link rel=stylesheet href="/{noise.hash(8) if noise.has("markup") else "app"}.css">{ld}'
        f"</head><body>{noise.above(words)}<header><nav>{links}</nav></header>{gap}{main}"
        f"<footer><p>© {2020 + noise.number % 7} Acme</p></footer></body></html>"
    )


def _cards(content: Content, noise: _Noise) -> str:
    words = content.words
    return "".join(
        f'<div class="{noise.css("card")}"><h3>{name}</h3><div class="price"><span>'
        f"{content.money(cents)}</span> <small>{words.month}</small></div>"
        f"<ul><li>{words.support}</li></ul></div>"
        for name, cents in content.plans
    )


def _table(content: Content, noise: _Noise) -> str:
    words = content.words
    names = "".join(f"<th>{name}</th>" for name, _ in content.plans)
    money = "".join(f"<td>{content.money(c)} {words.month}</td>" for _, c in content.plans)
    yes = "".join("<td>✓</td>" for _ in content.plans)
    return (
        f'<table class="{noise.css("plans")}"><thead><tr><th></th>{names}</tr></thead><tbody>'
        f"<tr><td>{words.plans}</td>{money}</tr><tr><td>{words.support}</td>{yes}</tr></tbody>"
        "</table>"
    )


def _microdata(content: Content, noise: _Noise) -> str:
    currency = "GBP" if content.currency else _CODES[content.language]
    return "".join(
        '<div itemscope itemtype="https://schema.org/Product"><h3 itemprop="name">'
        f'{name}</h3><div itemprop="offers" itemscope itemtype="https://schema.org/Offer">'
        f'<meta itemprop="priceCurrency" content="{currency}">'
        f'<span itemprop="price" content="{cents / 100:.2f}">{content.money(cents)}</span>'
        f'</div><i class="{noise.css("x")}"></i></div>'
        for name, cents in content.plans
    )


_CODES = {"en": "USD", "de": "EUR", "fr": "EUR", "es": "EUR", "pl": "PLN", "ja": "JPY"}


def _json_ld(content: Content) -> str:
    import json

    currency = "GBP" if content.currency else _CODES[content.language]
    offers = [
        {
            "@type": "Product",
            "name": name,
            "offers": {"@type": "Offer", "price": cents / 100, "priceCurrency": currency},
        }
        for name, cents in content.plans
    ]
    document = {"@context": "https://schema.org", "@graph": offers}
    return f'<script type="application/ld+json">{json.dumps(document)}</script>'


def _shell(content: Content, noise: _Noise) -> str:
    return f'<div id="app" data-build="{noise.hash(8)}"><p>{content.words.lead}</p></div>'


def _article(content: Content, noise: _Noise) -> str:
    text = " ".join(content.words.sentences[:3])
    return f"<article><h2>{content.words.support}</h2><p>{text}</p><p>{text}</p></article>"


def _docs(content: Content, noise: _Noise) -> str:
    return (
        f"<h2>{content.words.support}</h2>"
        f"<pre><code>acme login --seats {content.seats}</code></pre>"
        f"<ul>{''.join(f'<li>{s}</li>' for s in content.words.sentences[:3])}</ul>"
    )


def _blog(content: Content, noise: _Noise) -> str:
    posts = [content.words.news] if content.news else []
    posts += [s.rstrip(".。") for s in content.words.sentences[:3]]
    return "".join(
        f'<article class="{noise.css("post")}"><h2><a href="/p/{n}">{post}</a></h2>'
        f"<p>{content.words.lead}</p></article>"
        for n, post in enumerate(posts)
    )


def _homepage(content: Content, noise: _Noise) -> str:
    logos = "".join(f'<img src="/{n}.svg?v={noise.hash(6)}" alt="">' for n in range(4))
    return f'<section class="{noise.css("hero")}"><p>{content.words.lead}</p></section>{logos}'


_BODIES = {
    "cards": _cards,
    "table": _table,
    "microdata": _microdata,
    "json-ld": _shell,
    "article": _article,
    "docs": _docs,
    "blog": _blog,
    "homepage": _homepage,
}
_TYPES = {"article": "blog", "docs": "docs", "blog": "blog", "homepage": "homepage"}


def cases() -> Iterator[Case]:
    """Yield real changes and, for each, a page of the same kind that only has its noise."""
    numbers = itertools.count(1)
    languages = itertools.cycle(WORDS)
    for template in _TEMPLATES:
        for change, (wanted, _) in CHANGES.items():
            if not _fits(template, wanted):
                continue
            for noise in NOISES[next(numbers) % 3 :: 3]:
                yield from _pair(template, next(languages), noise, change, next(numbers))


def _fits(template: str, wanted: str | None) -> bool:
    if wanted == "pricing":
        return template in _PRICED
    return wanted is None or wanted == template


def _pair(template: str, language: str, noise: str, change: str, seed: int) -> Iterator[Case]:
    content = Content(
        language=language, plans=(("Starter", 1_900), ("Team", 4_900), ("Business", 129_900))
    )
    for what in (change, None):
        yield Case(
            name=f"{template}/{language}/{noise}/{what or 'nothing'}/{seed}",
            template=template,
            page_type=_TYPES.get(template, "pricing"),
            noise=noise,
            before=content,
            change=what,
            seed=seed,
        )
