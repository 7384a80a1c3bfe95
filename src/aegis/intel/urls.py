"""Addresses of pages: one spelling each, whose they are, and of what type."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit, urlunsplit

from aegis.errors import InvalidInput

if TYPE_CHECKING:
    from aegis.intel.models import PageType

__all__ = ["clean", "host_of", "join", "page_type", "same_site", "start_url"]

_MOST = 2_000
#: Parameters that say where a visitor came from, not what a page is.
_TRACKING = re.compile(r"(utm_\w+|gclid|fbclid|msclkid|mc_[ce]id|_hs\w+|ref|sessionid|phpsessid)$")
_PORTS = {"http": 80, "https": 443}
_FILES = re.compile(
    r"\.(png|jpe?g|gif|webp|svg|ico|css|js|mjs|json|xml|pdf|zip|gz|tgz|mp[34]|webm|woff2?|ttf|exe|"
    r"dmg|rss|atom)$"
)
#: The first path segment that fits says the type; words in the languages that sites come in.
_TYPES: tuple[tuple[PageType, re.Pattern[str]], ...] = (
    (
        "pricing",
        re.compile(
            r"(pricing|prices?|plans?|plans-and-pricing|preise?|tarife?|tarifs?|prix|precios?|"
            r"planes|prezzi|precos|preços|ceny|cennik|priser|prijzen|цены|tarify|料金|价格)"
        ),
    ),
    ("docs", re.compile(r"(docs?|documentation|developers?|api|reference|help|guides?|manual)")),
    (
        "blog",
        re.compile(
            r"(blog|news|changelog|release-?notes|releases|updates|articles?|press|novedades)"
        ),
    ),
    (
        "features",
        re.compile(
            r"(features?|products?|platform|solutions?|funktionen|produkte?|fonctionnalites|"
            r"produits?|funciones|productos?|integrations?|capabilities|funzioni)"
        ),
    ),
)


def clean(url: str) -> str:
    """Return the one spelling of a web address: no fragment, no default port, no tracking.

    Raises:
        InvalidInput: it is no web address.
    """
    text = url.strip()
    try:
        parts = urlsplit(text)
        host, port = (parts.hostname or "").rstrip("."), parts.port
        host = host.encode("idna").decode() if not host.isascii() else host
    except (ValueError, UnicodeError):
        raise _no_address(text) from None
    fits = parts.scheme in _PORTS and host and text.isprintable() and len(text) <= _MOST
    if not fits or parts.username is not None or " " in host:
        raise _no_address(text)
    place = f"[{host}]" if ":" in host else host
    if port is not None and port != _PORTS[parts.scheme]:
        place += f":{port}"
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    kept = [
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if not _TRACKING.match(name.lower())
    ]
    return urlunsplit((parts.scheme, place, path, urlencode(kept), ""))


def start_url(domain: str) -> tuple[str, str]:
    """Return the domain, lower case, and the address at which its pages are looked for.

    `example.com` means https; an address with a scheme is taken as it is.
    """
    text = domain.strip()
    url = clean(text if "://" in text else f"https://{text}")
    return urlsplit(url).netloc, url


def join(base: str, link: str) -> str | None:
    """Return a link's address in its one spelling, None for what is no page."""
    try:
        url = clean(urljoin(base, link.strip()))
    except (InvalidInput, ValueError):
        return None
    return None if _FILES.search(urlsplit(url).path.lower()) else url


def host_of(url: str) -> str:
    """Return scheme, host and port of a clean address: what is asked politely."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def same_site(url: str, domain: str) -> bool:
    """Return whether an address is the domain's, `www.` or another subdomain of it included."""
    place = urlsplit(url).netloc.lower()
    bare = domain.lower().removeprefix("www.")
    return place == bare or place.endswith(f".{bare}")


def page_type(url: str) -> PageType:
    """Return what kind of page an address names."""
    parts = urlsplit(url)
    segments = [s for s in re.split(r"/+", parts.path.lower()) if s]
    sub = parts.netloc.split(".")[0].lower()
    if sub in ("docs", "developer", "developers", "help"):
        return "docs"
    if sub in ("blog", "news"):
        return "blog"
    # A language or a country comes before what matters: /de/preise, /en-us/pricing.
    if segments and re.fullmatch(r"[a-z]{2}([-_][a-z]{2})?", segments[0]):
        segments = segments[1:]
    if not segments or (len(segments) == 1 and re.fullmatch(r"(index|home)(\.\w+)?", segments[0])):
        return "homepage"
    for segment in segments:
        word = re.sub(r"\.\w{2,5}$", "", segment)
        for kind, pattern in _TYPES:
            if pattern.fullmatch(word):
                return kind
    return "other"


def _no_address(text: str) -> InvalidInput:
    shown = text if len(text) <= 80 else text[:79] + "…"
    return InvalidInput(
        f"{shown!r} is no web address; use one such as https://example.com/pricing."
    )
