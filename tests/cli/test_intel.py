"""`aegis intel …`: from a domain to a change that somebody took note of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.intel.conftest import pricing
from tests.intel.site import Site, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Shell


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name, text in {
        "OUTBOUND_ALLOW": "127.0.0.1",
        "INTEL_DELAY_S": "0",
        "INTEL_CONFIRM_S": "0",
        "EMBEDDER": "none",
    }.items():
        monkeypatch.setenv(f"AEGIS_{name}", text)
    with serve() as served:
        served.pages |= {
            "/": "<h1>Acme</h1><p>We make tools.</p><a href=/pricing>Prices</a>",
            "/pricing": pricing("49"),
            "/docs/a": "<h1>Docs</h1><p>Read them all.</p>",
        }
        yield served


def test_a_competitor_is_added_checked_and_reported(
    aegis: Shell, site: Site, tmp_path: Path
) -> None:
    added = aegis("intel", "add", site.url, "--name", "Acme", "--every", "12h")
    assert (added.status, "2 page(s) are watched" in added.out) == (0, True)
    assert aegis("intel", "check", "--settle").status == 0
    site.pages["/pricing"] = pricing("59")
    done = aegis("intel", "check", "--competitor", "acme", "--settle")
    assert "changed" in done.out
    assert "Changes: 1" in done.out
    (change,) = aegis("intel", "changes", "--type", "price", "--unseen", "--json").json["items"]
    assert change["summary"] == "Pro: 49 USD/month → 59 USD/month (+20%)."
    assert "+Pro | 59 | USD | month" in aegis("intel", "diff", "1").out
    assert "[-49-] {+59+}" in aegis("intel", "diff", "1", "--words").out
    report = tmp_path / "digest.md"
    assert aegis("intel", "report", "--output", str(report)).status == 0
    assert "## Acme" in report.read_text()
    assert "1 change(s)" in aegis("intel", "ack", "1").out
    assert "Nothing changed." in aegis("intel", "changes", "--unseen").err
    (row,) = aegis("intel", "list", "--json").json["items"]
    assert (row["watched"], row["unseen"], row["check_every_s"]) == (2, 0, 43_200)


def test_pages_are_chosen_and_configured(aegis: Shell, site: Site) -> None:
    assert aegis("intel", "add", site.url, "--name", "Acme", "--no-discover").status == 0
    assert aegis("intel", "watch", "Acme", f"{site.url}/docs/a").out == "Watched: 1.\n"
    shown = aegis("intel", "set", "1", "--exclude", ".ad", "--type", "docs", "--json").json
    assert (shown["exclude_selectors"], shown["page_type"]) == ([".ad"], "docs")
    assert aegis("intel", "set", "1", "--exclude", "", "--json").json["exclude_selectors"] == []
    assert "Ignored: 1." in aegis("intel", "ignore", "1").out
    assert "No page is due." in aegis("intel", "check").err
    found = aegis("intel", "pages", "-c", "Acme", "--discover", "--state", "watched", "--json")
    assert [page["page_type"] for page in found.json["items"]] == ["homepage", "pricing"]
    assert "is paused" in aegis("intel", "pause", "Acme").out
    assert "is checked" in aegis("intel", "resume", "Acme").out
    assert aegis("intel", "remove", "Acme").status != 0
    assert "Deleted: 3 page(s)" in aegis("intel", "remove", "Acme", "--yes").out


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "no domain"),
        ("ignore", "x"),
        ("ack", "1.5"),
        ("set", "1", "--exclude", "a["),
        ("pages", "--discover"),
        ("diff", "77"),
        ("check", "--competitor", "Nobody"),
        ("report", "--days", "0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(aegis: Shell, arguments: tuple[str, ...]) -> None:
    done = aegis("intel", *arguments)
    assert done.status not in (0, 1)
    assert len(done.err.strip().splitlines()) == 1
    assert done.err.startswith("aegis: ")
