"""Pages that need a browser: a real Chromium, which reaches nothing but through the fetcher."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aegis.intel import pictures
from tests.intel.conftest import check, outcomes, value
from tests.intel.site import Reply, Site, serve

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.db import Database
    from aegis.intel.service import Intel

SHELL = (
    "<html><head><title>Acme</title><link rel=stylesheet href=/app.css></head><body>"
    "<div id=root></div><script src=/app.js></script></body></html>"
)
SCRIPT = """
const say = text => { const p = document.createElement('p'); p.textContent = text;
                      document.getElementById('root').append(p); };
fetch('/api/plans').then(r => r.json()).then(plans => {
    plans.forEach(p => { const h = document.createElement('h3'); h.textContent = p.name;
                         document.getElementById('root').append(h);
                         say('$' + p.usd + ' / month'); });
}).then(() => fetch('%s/secret').then(() => say('reached')).catch(() => say('blocked')));
try { new WebSocket('%s/socket'); } catch (e) { }
"""


def style(colour: str) -> Reply:
    return Reply(f"body {{ background: {colour}; }}", headers={"Content-Type": "text/css"})


def api(usd: int) -> Reply:
    return Reply(f'[{{"name": "Pro", "usd": {usd}}}]', headers={"Content-Type": "application/json"})


async def test_a_page_of_scripts_is_rendered_pictured_and_compared(
    intel: Intel, site: Site, db: Database
) -> None:
    with serve() as inner:
        # The same machine by an address that is not allowed.
        elsewhere = f"http://127.0.0.2:{urlsplit(inner.url).port}"
        script = SCRIPT % (elsewhere, elsewhere.replace("http", "ws"))
        kind = {"Content-Type": "text/javascript"}
        site.pages |= {
            "/pricing": SHELL,
            "/app.js": Reply(script, headers=kind),
            "/app.css": style("white"),
            "/api/plans": api(49),
        }
        await intel.add(site.url, name="Acme", discover=False)
        page = await intel.watch("Acme", f"{site.url}/pricing")
        done = await check(intel, page.id)
        assert done.outcome == "failed"
        assert "--browser" in (done.detail or "")
        await intel.configure_page(page.id, browser=True)
        assert await outcomes(intel, page.id, 1) == ["first"]
        text = await value(db, "SELECT text FROM competitor_snapshots WHERE state = 'baseline'")
        assert set(text.splitlines()) == {"Pro", "$49 / month", "blocked"}
        assert not inner.asked
        picture = _file((await intel.page(page.id)).screenshot_url)
        assert picture.read_bytes().startswith(b"\x89PNG")
        await outcomes(intel, page.id, 3)
        site.pages["/api/plans"] = api(59)
        await until_changed(intel, page.id)
        (price,) = await intel.changes()
        assert price.summary == "Pro: 49 USD/month → 59 USD/month (+20%)."
        assert _file(price.old_screenshot_url) != _file(price.new_screenshot_url)
        # The same words in another dress.
        site.pages["/app.css"] = style("rgb(20, 20, 90)")
        await until_changed(intel, page.id)
        (visual, _) = await intel.changes()
        assert visual.change_type == "visual"
        assert visual.details is not None
        assert visual.details["share"] > 0.5
        assert await outcomes(intel, page.id, 1) == ["unchanged"]


async def until_changed(intel: Intel, page_id: int) -> None:
    """Check until the change is confirmed: one more time where answers came in another order."""
    for _ in range(5):
        (outcome,) = await outcomes(intel, page_id, 1)
        if outcome == "changed":
            return
        assert outcome == "pending"
    raise AssertionError("the change was never confirmed")


def _file(url: str | None) -> Path:
    from pathlib import Path

    assert url is not None
    path = Path(urlsplit(url).path)
    assert path.is_file()
    return path


def test_pictures_differ_by_the_part_that_does() -> None:
    grey = bytes([100]) * 320
    assert pictures.difference(grey, grey) == 0
    assert pictures.difference(grey, bytes([105]) * 320) == 0
    assert pictures.difference(grey, bytes([200]) * 32 + grey[32:]) == 0.1
    assert pictures.difference(grey, grey + bytes(320)) == 0.5
    assert pictures.difference(b"", b"") == 0
