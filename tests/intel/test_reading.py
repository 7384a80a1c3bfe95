"""What is read from documents: prices as people write them, addresses, noise; digests."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.errors import InvalidInput
from aegis.intel import digest, judging
from aegis.intel.decoding import decode
from aegis.intel.differing import changes_between, unified, word_diff
from aegis.intel.extracting import check_selectors, content_hash, read
from aegis.intel.models import Change, Reading
from aegis.intel.noise import Rules, alike, learn_flaps, learn_masks, read_rules
from aegis.intel.prices import in_text, read_line
from aegis.intel.sitemap import read_sitemap, unpack
from aegis.intel.urls import clean, join, page_type, same_site, start_url


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("$49", "49 USD "),
        ("$49/mo", "49 USD month"),
        ("US$ 1,299.50 per year", "1299.5 USD year"),
        ("€49", "49 EUR "),
        ("49 € pro Monat", "49 EUR month"),
        ("1.299,00 € / Jahr", "1299 EUR year"),
        ("1.299 € pro Monat und Nutzer", "1299 EUR month/user"),
        ("CHF 1'299.–", "1299 CHF "),
        ("1 299 € par mois", "1299 EUR month"),
        ("49 zł / miesiąc", "49 PLN month"),
        ("¥1,200/月", "1200 JPY month"),
        ("R$ 49,90 por mês", "49.9 BRL month"),
        ("₹999 per user per month", "999 INR month/user"),
        ("$0.002 per hour", "0.002 USD hour"),
        ("£7.50 a week", "7.5 GBP week"),
        ("EUR 1.000.000", "1000000 EUR "),
        ("199 USD annually", "199 USD year"),
    ],
)
def test_prices_are_read_as_people_write_them(text: str, shown: str) -> None:
    (price,) = in_text(text, plan="Pro")
    _, amount, currency, period = (part.strip() for part in f"{price.line} ".split("|"))
    assert f"{amount} {currency} {period}" == shown
    assert read_line(price.line) == price


@pytest.mark.parametrize(
    "text", ["49", "Version 2.0", "10 seats", "in 2026", "up to 100%", "AB$C", "a $ sign", ""]
)
def test_what_is_no_price_is_none(text: str) -> None:
    assert list(in_text(text, plan="Pro")) == []


def test_prices_belong_to_their_plan() -> None:
    reading = read(
        """
        <table><tr><th></th><th>Team</th><th>Business</th></tr>
        <tr><td>Monthly</td><td>$49</td><td>$99</td></tr></table>
        <div><h3>Solo</h3><p><span>$</span><span>9</span></p><p>/month</p></div>
        <div><h3>Hobby</h3><p>Free</p></div>
        <script type="application/ld+json">{"@type": "Product", "name": "Pro",
          "offers": [{"@type": "Offer", "price": "49.00", "priceCurrency": "EUR"}]}</script>
        <script type="application/ld+json">{broken</script>
        <div itemscope><b itemprop="name">Max</b><i itemprop="priceCurrency" content="GBP"></i>
          <i itemprop="price" content="12.50"></i></div>
        """,
        page_type="pricing",
    )
    assert set(reading.prices) == {
        "Pro | 49 | EUR | ",
        "Max | 12.5 | GBP | ",
        "Team / Monthly | 49 | USD | ",
        "Business / Monthly | 99 | USD | ",
        "Solo | 9 | USD | month",
        "Hobby | 0 |  | ",
    }


def test_banners_hidden_parts_and_frames_are_not_read() -> None:
    reading = read(
        "<body><nav><a href=/>Start</a></nav><div id='onetrust-banner-sdk'>Accept</div>"
        "<div class='cookie-consent'>We use cookies</div><p hidden>no</p><p style='display: none'>"
        "no</p><main class='policy'><p>Yes</p><p aria-hidden=true>no</p></main><script>no</script>"
        "<footer>© 2026</footer></body>",
        page_type="homepage",
    )
    assert reading.text == ("Yes",)
    assert "nav: Start" in reading.outline


def test_an_article_is_its_main_text() -> None:
    text = "".join(
        f"<p>Sentence number {n} of a long article about shipping.</p>" for n in range(30)
    )
    reading = read(
        f"<html><body><nav>Menu</nav><article><h1>News</h1>{text}</article></body></html>",
        page_type="blog",
    )
    assert reading.method == "article"
    assert len(reading.text) >= 30
    assert "Menu" not in reading.text


def test_the_hash_is_of_the_text_and_of_what_read_it() -> None:
    first = read("<p>One</p>", page_type="other")
    assert content_hash(first) == content_hash(read("<p> One </p>", page_type="other"))
    assert content_hash(first) != content_hash(read("<p>Two</p>", page_type="other"))
    other = read("<p>One</p>", page_type="other", exclude=[".ad"])
    assert content_hash(first) != content_hash(other)


@pytest.mark.parametrize("selector", ["", "::", "a[", "x" * 501, "p > > b"])
def test_what_is_no_selector_is_refused(selector: str) -> None:
    with pytest.raises(InvalidInput):
        check_selectors([selector])


@pytest.mark.parametrize(
    ("given_url", "kept"),
    [
        ("HTTP://Example.COM:80/A?utm_source=x&b=1#top", "http://example.com/A?b=1"),
        ("https://example.com", "https://example.com/"),
        ("https://bücher.example/ä", "https://xn--bcher-kva.example/%C3%A4"),
        ("https://[2001:db8::1]:8443/x", "https://[2001:db8::1]:8443/x"),
    ],
)
def test_an_address_has_one_spelling(given_url: str, kept: str) -> None:
    assert clean(given_url) == kept
    assert clean(kept) == kept


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://x/",
        "javascript:alert(1)",
        "http://",
        "http://a b/",
        "http://u:p@x/",
        "http://x:99999/",
    ],
)
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        clean(url)


def test_pages_are_typed_in_many_languages() -> None:
    for path, kind in {
        "/": "homepage",
        "/en": "homepage",
        "/pricing": "pricing",
        "/de/preise": "pricing",
        "/fr-FR/tarifs/": "pricing",
        "/product/features.html": "features",
        "/docs/install": "docs",
        "/blog/2026/pricing-news": "blog",
        "/legal": "other",
    }.items():
        assert page_type(f"https://example.com{path}") == kind, path
    assert page_type("https://docs.example.com/x") == "docs"
    assert same_site("https://www.example.com/", "example.com")
    assert not same_site("https://evil-example.com/", "example.com")
    assert join("https://a.example/x/", "../logo.PNG") is None
    assert join("https://a.example/x/", "mailto:a@b") is None
    assert start_url("Example.com") == ("example.com", "https://example.com/")


def test_a_text_is_decoded_as_it_says_or_as_it_is() -> None:
    assert decode("ä".encode("cp1252"), "latin-1") == "ä"
    assert decode(b'<meta charset="windows-1251">' + "ж".encode("cp1251"), None).endswith("ж")
    assert decode(b"\xef\xbb\xbf\xc3\xa4", "latin-1") == "ä"
    assert decode(b"abc", "rot13") == "abc"
    assert decode(b"abc", "no-such") == "abc"
    assert decode("Größe ändern für alle Fälle".encode("cp1252"), None).startswith("Gr")


def test_sitemaps_are_read_as_far_as_they_go() -> None:
    body = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>
    <urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"><url>
    <loc> https://x.example/a </loc></url><url><lastmod>1</lastmod></url><url><loc>https://x.example/b</loc></url><url><loc>"""
    assert read_sitemap(body)[0] == ["https://x.example/a", "https://x.example/b"]
    index = b"<sitemapindex><sitemap><loc>https://x.example/s.xml</loc></sitemap></sitemapindex>"
    assert read_sitemap(index) == ([], ["https://x.example/s.xml"])
    assert read_sitemap(b"https://x.example/a\nnonsense\n") == (["https://x.example/a"], [])
    assert read_sitemap(b"") == ([], [])
    assert len(unpack(__import__("gzip").compress(b"a" * 10_000_000), most=1_000)) == 1_000


def reading(*lines: str, prices: tuple[str, ...] = (), title: str = "t") -> Reading:
    return Reading(
        extractor="1", method="blocks", title=title, text=lines, prices=prices, outline=()
    )


STILL = ("Acme makes tools for teams.", "They are liked by many people.", "Try them today.")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Today is nice at 12:30", "Today is nice at 9:05 pm"),
        ("Posted 3 minutes ago", "Posted 2 hours ago"),
        ("vor 3 Minuten", "vor 12 Stunden"),
        ("Last updated: 2026-05-01", "Last updated: June 3, 2026"),
        ("id 123e4567-e89b-12d3-a456-426614174000", "id 923e4567-e89b-12d3-a456-426614174001"),
        ("© 2025 Acme", "© 2019–2026 Acme"),
    ],
)
def test_times_and_ids_are_noise_everywhere(one: str, other: str) -> None:
    assert alike(reading(*STILL, one), reading(*STILL, other), Rules())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("10 seats included", "20 seats included"),
        ("Version 1.2 is out", "Version 1.3 is out"),
        ("The deadline is 3 May 2026", "The deadline is 4 May 2026"),
        ("We do store your data", "We do not store your data"),
        ("$49 a month", "$59 a month"),
    ],
)
def test_what_people_would_want_to_know_is_none(one: str, other: str) -> None:
    assert not alike(reading(*STILL, one), reading(*STILL, other), Rules())


def test_a_mask_hides_the_number_that_counts_and_nothing_else() -> None:
    first, second = reading(*STILL, "Used by 1,234 teams"), reading(*STILL, "Used by 1,240 teams")
    rules = read_rules(learn_masks(first, second, Rules()).to_json())
    assert alike(first, reading(*STILL, "Used by 9,999 teams"), rules)
    assert not alike(first, reading(*STILL, "Hated by 1,234 teams"), rules)
    for one, other in (
        ("現在12人が閲覧中", "現在15人が閲覧中"),
        ("12", "15"),
        ("a1b2c3", "d4e5f6"),
    ):
        learned = learn_masks(reading(*STILL, one), reading(*STILL, other), Rules())
        assert not alike(reading(*STILL, "10席を含む"), reading(*STILL, "25席を含む"), learned)
    money = learn_masks(reading("$49 a month"), reading("$59 a month"), Rules())
    assert money.masks == ()


def test_an_error_page_teaches_nothing() -> None:
    page, error = reading(*STILL), reading("Oops.")
    assert learn_flaps([page, error], Rules()) is None
    verdict = judging.judge(page, [error], page, Rules())
    assert (verdict.kind, verdict.rules) == ("noise", Rules())


def test_a_change_that_is_rolled_out_while_it_is_confirmed_is_told_in_the_end() -> None:
    old = reading(*STILL, "Old text.")
    half, new = reading(*STILL, "Half a text."), reading(*STILL, "New text.")
    rules, pending, kinds = Rules(), [], []
    for fetched in (half, new, new, new):
        verdict = judging.judge(old, pending, fetched, rules)
        rules = verdict.rules
        kinds.append(verdict.kind)
        pending.append(fetched)
    assert kinds == ["pending", "pending", "pending", "changed"]
    (change,) = changes_between(old, new, rules, page_type="features")
    assert change.word_diff == "[-Old-] {+New+} text."


lines = st.lists(
    st.text(alphabet="ab 1$€.", min_size=1, max_size=12).map(str.strip).filter(bool), max_size=8
)


@given(old=lines, new=lines)
@settings(max_examples=150, deadline=None)
def test_a_confirmed_difference_of_texts_is_never_without_a_diff(
    old: list[str], new: list[str]
) -> None:
    before, after = reading(*STILL, *old), reading(*STILL, *new)
    # Another order of the same lines has to last for longer.
    ordered = sorted(old) == sorted(new)
    fetches = judging.ORDER_AGREEING if ordered else judging.AGREEING
    kinds = [judging.judge(before, [after] * n, after, Rules()).kind for n in range(fetches)]
    if alike(before, after, Rules()):
        assert kinds[0] == "unchanged"
        return
    assert kinds[:-1] == ["pending"] * (fetches - 1)
    assert kinds[-1] == "changed"
    (change,) = changes_between(before, after, Rules(), page_type="other")
    assert change.diff
    assert change.word_diff
    assert change.old_value != change.new_value


@given(st.text(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_text_is_read_without_a_fault(text: str) -> None:
    found = read(text.encode(errors="replace").decode(), page_type="pricing")
    assert all(line == " ".join(line.split()) and line for line in found.text)


@given(st.dictionaries(st.text(max_size=8), st.recursive(
    st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
)))  # fmt: skip
def test_stored_rules_that_are_none_are_passed_over(stored: dict[str, object]) -> None:
    rules = read_rules({**stored, "masks": list(stored.values()), "learning": "x"})
    assert read_rules(rules.to_json()) == rules


def test_diffs_are_of_lines_and_of_words() -> None:
    assert unified(["a", "b"], ["a", "c"]).splitlines()[-2:] == ["-b", "+c"]
    assert word_diff(["keep", "old one"], ["keep", "new one"]) == "[-old-] {+new+} one"


def test_a_digest_shows_a_stranger_s_words_and_does_nothing_else() -> None:
    at = datetime(2026, 5, 1, tzinfo=UTC)
    change = Change(
        id=7,
        page_id=1,
        competitor="Evil](http://x) <b>",
        url="https://x.example/a>b c",
        page_type="pricing",
        change_type="price",
        importance="critical",
        summary="# Title\n![x](y) <script> *bold* | `code`",
        old_value=None,
        new_value=None,
        diff=None,
        word_diff=None,
        details=None,
        old_screenshot_url=None,
        new_screenshot_url=None,
        detected_at=at,
        acknowledged_at=None,
    )
    text = digest.render([change], [], since=at, until=at)
    assert "1 change: prices 1." in text
    assert r"\<script\>" in text
    assert "](<https://x.example/a%3Eb%20c>)" in text
    assert r"Evil\](http://x) \<b\>" in text
    assert len([line for line in text.splitlines() if line.startswith("#")]) == 2
    assert "Nothing changed." in digest.render([], [], since=at, until=at)


def test_what_stands_below_a_price_is_its_period_only_if_it_says_so() -> None:
    below = {
        "/month per user": "month/user",
        "per month": "month",
        "10 seats": "",
        "a year": "year",
    }
    for after, period in below.items():
        (price,) = in_text("$49", plan="Pro", after=after)
        assert price.period == period, after
    (price,) = in_text("$49 / month", plan="Pro", after="10 seats")
    assert price.period == "month"
