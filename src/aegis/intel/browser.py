"""Pages that need a browser, through Playwright on an installed Chromium (extra `browser`).

The browser never touches the network: every request that a page makes is answered with what the
guarded fetcher brings, so a page cannot reach an address that we would not; what goes another way
(WebSockets, name look-ups) finds nothing. Number, size and time of it all are bounded.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import anyio

from aegis.errors import AegisError, ConfigError, Unavailable
from aegis.intel.fetching import Answer, is_redirect
from aegis.intel.pictures import COLUMNS, MOST_ROWS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aegis.config import Settings
    from aegis.intel.fetching import Fetcher
    from aegis.intel.robots import Polite

__all__ = ["Browser", "Rendered", "find_chromium"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_WIDTH, _HEIGHT, _MOST_HEIGHT = 1280, 800, 8_000
_MOST_REQUESTS = 200
_MOST_HTML = 10 * 1024 * 1024
#: Milliseconds without a request until a page counts as loaded, at most.
_QUIET_MS = 5_000
_PASSED = frozenset({"document", "stylesheet", "script", "xhr", "fetch", "image", "font", "other"})
_FLAGS = (
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
)
#: Scales a picture down, in a page of its own without scripts of strangers.
_SCALE = """
async ([source, columns, most]) => {
    const image = new Image();
    image.src = source;
    await image.decode();
    const rows = Math.max(1, Math.min(most, Math.round(image.height * columns / image.width)));
    const canvas = document.createElement('canvas');
    canvas.width = columns;
    canvas.height = rows;
    const context = canvas.getContext('2d', {willReadFrequently: true});
    context.imageSmoothingQuality = 'high';
    context.drawImage(image, 0, 0, columns, rows);
    const found = context.getImageData(0, 0, columns, rows).data;
    const grey = [];
    for (let at = 0; at < found.length; at += 4) {
        grey.push(Math.round(0.299 * found[at] + 0.587 * found[at + 1] + 0.114 * found[at + 2]));
    }
    return grey;
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """What a browser made of a page."""

    #: The document after its scripts ran.
    html: str
    #: The picture's file, as an address.
    screenshot_url: str | None
    #: The picture scaled down to 32 columns of grey, a byte each.
    picture: bytes | None


def find_chromium(settings: Settings) -> str:
    """Return the path of the browser.

    Raises:
        ConfigError: there is none.
    """
    given = settings.intel_browser_path
    if given is not None:
        if not given.is_file():
            raise ConfigError(f"AEGIS_INTEL_BROWSER_PATH is {str(given)!r}, which is no file.")
        return str(given)
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        raise ConfigError(
            "There is no Chromium on the PATH; install one, or name it in AEGIS_INTEL_BROWSER_PATH."
        )
    return found


class Browser:
    """Fetches pages with one Chromium, started when it is first needed."""

    def __init__(self, settings: Settings, fetcher: Fetcher, polite: Polite) -> None:
        self._settings = settings
        self._fetcher = fetcher
        self._polite = polite
        self._stack: AsyncExitStack | None = None
        self._chromium: Any = None
        self._starting = anyio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the browser; the next page starts one."""
        stack, self._stack, self._chromium = self._stack, None, None
        if stack is not None:
            await stack.aclose()

    async def get(self, url: str) -> tuple[Answer, Rendered]:
        """Return the answer to a page, and what a browser made of it.

        Raises:
            ConfigError: there is no browser, or no Playwright.
            Unavailable, PermissionDenied, LimitExceeded: as for a fetch without one.
        """
        # robots.txt, the turn of the host and redirects are what they are without a browser.
        answer = await self._polite.get(url)
        if answer.status != 200 or answer.content_type not in (
            "text/html",
            "application/xhtml+xml",
        ):
            return answer, Rendered(html=answer.text, screenshot_url=None, picture=None)
        try:
            with anyio.fail_after(self._settings.intel_timeout_s + 30):
                return answer, await self._render(answer)
        except TimeoutError:
            raise Unavailable("The browser did not finish in time.", code="intel_timeout") from None

    async def _render(self, answer: Answer) -> Rendered:
        from playwright.async_api import Error

        try:
            async with self._page(answer) as page:
                await page.goto(answer.url, wait_until="load")
                await _quiet(page)
                html = await page.content()
                picture = await _picture(page)
        except Error as error:
            if self._chromium is None or not self._chromium.is_connected():
                await self.aclose()
            first = str(error).splitlines()[0][:200]
            raise Unavailable(f"The browser failed: {first}", code="intel_browser") from None
        if len(html) > _MOST_HTML:
            raise Unavailable("The page grew too large in the browser.", code="intel_browser")
        grey = await self._scale(picture)
        return Rendered(html=html, screenshot_url=await self._save(picture), picture=grey)

    @asynccontextmanager
    async def _page(self, answer: Answer) -> AsyncGenerator[Any]:
        chromium = await self._started()
        context = await chromium.new_context(
            viewport={"width": _WIDTH, "height": _HEIGHT},
            user_agent=self._settings.intel_user_agent,
            service_workers="block",
            accept_downloads=False,
            reduced_motion="reduce",
        )
        try:
            context.set_default_timeout(1_000 * self._settings.intel_timeout_s)
            await context.route("**/*", _Handler(answer, self._fetcher).handle)
            page = await context.new_page()
            page.on("dialog", _dismiss)
            yield page
        finally:
            with anyio.CancelScope(shield=True):
                await context.close()

    async def _started(self) -> Any:
        async with self._starting:
            if self._chromium is not None and self._chromium.is_connected():
                return self._chromium
            await self.aclose()
            try:
                from playwright.async_api import Error, async_playwright
            except ImportError:
                raise ConfigError(
                    "Pages that need a browser need Playwright: install aegis-core[browser]."
                ) from None
            path = find_chromium(self._settings)
            async with AsyncExitStack() as stack:
                playwright = await stack.enter_async_context(async_playwright())
                try:
                    chromium = await playwright.chromium.launch(
                        executable_path=path, args=list(_FLAGS), chromium_sandbox=_sandboxed()
                    )
                except Error as error:
                    raise ConfigError(
                        f"{path} does not start: {str(error).splitlines()[0][:200]}"
                    ) from None
                stack.push_async_callback(chromium.close)
                self._stack, self._chromium = stack.pop_all(), chromium
            return self._chromium

    async def _scale(self, picture: bytes) -> bytes:
        context = await (await self._started()).new_context(offline=True)
        try:
            page = await context.new_page()
            source = "data:image/png;base64," + base64.b64encode(picture).decode()
            return bytes(await page.evaluate(_SCALE, [source, COLUMNS, MOST_ROWS]))
        finally:
            await context.close()

    async def _save(self, picture: bytes) -> str:
        folder = self._settings.intel_screenshot_dir or self._settings.data_dir / "screenshots"
        name = hashlib.sha256(picture).hexdigest()
        path = Path(folder) / name[:2] / f"{name}.png"
        return await anyio.to_thread.run_sync(_write, path, picture)


class _Handler:
    """Answers the requests of one page with what the guarded fetcher brings."""

    def __init__(self, answer: Answer, fetcher: Fetcher) -> None:
        self._answer: Answer | None = answer
        self._fetcher = fetcher
        self._left = _MOST_REQUESTS

    async def handle(self, route: Any) -> None:
        """Answer one request, or end it."""
        request = route.request
        first = self._answer
        if first is not None and request.is_navigation_request():
            # The page itself is here already: it is not asked for twice.
            self._answer = None
            await _fulfil(route, first)
            return
        self._left -= 1
        fits = request.method == "GET" and request.resource_type in _PASSED and self._left >= 0
        if not fits or urlsplit(str(request.url)).scheme not in ("http", "https"):
            await route.abort()
            return
        try:
            answer = await self._fetcher.get(request.url, delay_s=0)
        except AegisError:
            await route.abort()
            return
        if is_redirect(answer):
            headers = {"location": answer.url}
            await route.fulfill(status=answer.status, headers=headers)
            return
        await _fulfil(route, answer)


async def _fulfil(route: Any, answer: Answer) -> None:
    kind = answer.content_type or "application/octet-stream"
    charset = f"; charset={answer.charset}" if answer.charset else ""
    await route.fulfill(
        status=answer.status,
        headers={"content-type": kind + charset, "access-control-allow-origin": "*"},
        body=answer.body,
    )


async def _quiet(page: Any) -> None:
    from playwright.async_api import TimeoutError as Late

    try:
        await page.wait_for_load_state("networkidle", timeout=_QUIET_MS)
    except Late:
        # A page that never rests is taken as it is.
        return


async def _picture(page: Any) -> bytes:
    height = await page.evaluate("() => document.documentElement.scrollHeight")
    height = max(1, min(int(height or _HEIGHT), _MOST_HEIGHT))
    return await page.screenshot(
        type="png",
        animations="disabled",
        caret="hide",
        full_page=True,
        clip={"x": 0, "y": 0, "width": _WIDTH, "height": height},
    )


async def _dismiss(dialog: Any) -> None:
    await dialog.dismiss()


def _sandboxed() -> bool:
    """Return whether Chromium can have its sandbox: root cannot give it one."""
    import os

    return os.geteuid() != 0


def _write(path: Path, picture: bytes) -> str:
    import os

    # The name is the content's: what is there is the same.
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_bytes(picture)
        part.replace(path)
    return path.as_uri()
