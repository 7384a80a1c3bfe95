"""The table of routes finds what FastAPI's own router finds, and leaves the rest to it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import APIRouter, FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.api.app import create_routes
from aegis.api.lookup import Routes, look_up_routes

if TYPE_CHECKING:
    import httpx2

DESCRIBED: dict[str, Any] = create_routes().openapi()["paths"]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get")
#: What can stand at a place, and what a path may hold beside words.
WORDS = sorted({w for path in DESCRIBED for w in path.split("/") if w and "{" not in w})
ODD = ("", "a b", "..", "%2F", "x\n", "a.json", "{key_id}", "ä", "v1")


async def _routed(app: FastAPI, method: str, path: str) -> Any:
    """Return the route and the places that a request gets, or the error that answers it."""

    async def receive() -> Any:
        raise AssertionError("nobody reads")

    async def send(_: Any) -> None:
        raise AssertionError("nobody answers")

    scope: dict[str, Any] = {
        "type": "http", "method": method, "path": path, "headers": [], "query_string": b"",
        "app": app,
    }  # fmt: skip
    try:
        await app.router(scope, receive, send)
    except Exception as error:  # noqa: BLE001
        # FastAPI's stacks are missing here: no route gets as far as its function.
        known = {k: scope.get(k) for k in ("endpoint", "path_params", "route")}
        if known["route"] is None:
            headers = dict(getattr(error, "headers", None) or {})
            if "Allow" in headers:
                headers["Allow"] = ", ".join(sorted(headers["Allow"].split(", ")))
            return type(error), getattr(error, "status_code", None), headers
        status = getattr(error, "status_code", None)
        return known["endpoint"], known["path_params"], known["route"].path, status
    raise AssertionError("something answered")


@pytest.fixture(scope="module")
def looked_up() -> FastAPI:
    return create_routes()


@pytest.fixture(scope="module")
def in_turn() -> FastAPI:
    app = create_routes()
    app.router.middleware_stack = app.router.app
    return app


async def test_every_route_is_found_where_the_router_finds_it(
    looked_up: FastAPI, in_turn: FastAPI
) -> None:
    assert isinstance(looked_up.router.middleware_stack, Routes)
    assert not isinstance(in_turn.router.middleware_stack, Routes)
    for path in DESCRIBED:
        concrete = re.sub(r"\{\w+\}", "3f0e8a52", path)
        for method in METHODS:
            for asked in (concrete, f"{concrete}/", f"{concrete}\n", f"{concrete}/more"):
                expected = await _routed(in_turn, method, asked)
                assert await _routed(looked_up, method, asked) == expected, (method, asked)


async def test_every_described_route_is_in_the_table(looked_up: FastAPI) -> None:
    """Otherwise it would be right, and slow."""
    missed: list[Any] = []
    table = looked_up.router.middleware_stack
    assert isinstance(table, Routes)
    for path, operations in DESCRIBED.items():
        for method in operations:
            asked = {
                "type": "http",
                "method": method.upper(),
                "path": re.sub(r"\{\w+\}", "x", path),
            }
            if table._find(asked) is None:
                missed.append((method, path))
    assert missed == []


@settings(deadline=None)
@given(
    method=st.sampled_from(METHODS),
    words=st.lists(st.sampled_from([*WORDS, *ODD, "x1"]), min_size=0, max_size=6),
    area=st.sampled_from(["/v1/", "/", "/v2/", ""]),
)
async def test_any_path_is_answered_as_the_router_answers_it(
    looked_up: FastAPI, in_turn: FastAPI, method: str, words: list[str], area: str
) -> None:
    path = area + "/".join(words)
    assert await _routed(looked_up, method, path) == await _routed(in_turn, method, path)


def _answering(name: str) -> Any:
    async def answer() -> str:
        raise AssertionError(name)

    return answer


async def test_the_first_of_two_that_fit_answers_however_they_are_written() -> None:
    """A place before a word, a word before a place, one path twice."""

    def build() -> FastAPI:
        app = FastAPI(redirect_slashes=False)
        for number, path in enumerate(
            ["/v1/a/{x}", "/v1/a/word", "/v1/b/word", "/v1/b/{x}", "/v1/b/word", "/v1/b/{y}"]
        ):
            app.add_api_route(path, _answering(path), name=str(number))
        return app

    for path in ("/v1/a/word", "/v1/a/other", "/v1/b/word", "/v1/b/other"):
        one, other = build(), build()
        look_up_routes(one)
        expected = await _routed(other, "GET", path)
        found = await _routed(one, "GET", path)
        assert found[1:] == expected[1:]
        assert found[0].__closure__[0].cell_contents == expected[0].__closure__[0].cell_contents


@pytest.mark.parametrize("odd", ["/v1/{rest:path}", "/{area}/things", "/v1/{area}/x", "/v1/a{x}b"])
async def test_what_cannot_be_looked_up_keeps_its_place(odd: str) -> None:
    """Such a route may take what a later one would: both are the router's to find."""

    def build() -> FastAPI:
        app = FastAPI(redirect_slashes=False)
        for path in ("/v1/first", odd, "/v1/things", "/v1/b/x", "/v1/axb"):
            app.add_api_route(path, _answering(path))
        return app

    for path in ("/v1/first", "/v1/things", "/v1/b/x", "/v1/axb", "/v1/none/at/all"):
        one, other = build(), build()
        look_up_routes(one)
        assert (await _routed(one, "GET", path))[1:] == (await _routed(other, "GET", path))[1:]


async def test_a_route_that_was_added_later_is_found_by_the_router(looked_up: FastAPI) -> None:
    app = create_routes()
    assert (await _routed(app, "GET", "/v1/late"))[1] == 404
    app.add_api_route("/v1/late", _answering("late"))
    assert (await _routed(app, "GET", "/v1/late"))[2] == "/v1/late"


async def test_what_a_router_brings_is_found_by_the_router(looked_up: FastAPI) -> None:
    app = FastAPI(redirect_slashes=False)
    router = APIRouter(prefix="/v1")
    router.add_api_route("/brought", _answering("brought"))
    app.include_router(router)
    look_up_routes(app)
    app.add_api_route("/v1/brought", _answering("late"))
    found = await _routed(app, "GET", "/v1/brought")
    assert found[0].__closure__[0].cell_contents == "brought"


async def test_what_is_not_there_is_answered_as_ever(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/v1/keys/tiers")).status_code == 200
    wrong = await http.put("/v1/keys/tiers")
    assert wrong.status_code == 405
    assert wrong.headers["allow"] == "GET"
    assert wrong.json()["detail"] == "This address takes GET, not PUT."
    gone = await http.get("/v1/keys/tiers/more/than/that")
    assert (gone.status_code, gone.json()["code"]) == (404, "not_found")
    assert (await http.get("/v1/keys/tiers/")).status_code == 404
