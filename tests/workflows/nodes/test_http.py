"""HTTP nodes against a real server on loopback."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from aegis.config import load_settings
from aegis.errors import AegisError, ConfigError, InvalidInput, PermissionDenied, Unavailable
from aegis.workflows.nodes.contract import TryLater, retryable
from aegis.workflows.nodes.http import Http
from tests.workflows.nodes.site import Answer, WebSite, serving_site
from tests.workflows.nodes.steps import a_step

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def site() -> Iterator[WebSite]:
    with serving_site() as running:
        yield running


async def send(site: WebSite, path: str = "/", *, settings: Any = None, **params: Any) -> Any:
    chosen = settings or load_settings({}, outbound_allow="127.0.0.1")
    url = params.pop("url", f"{site.url}{path}")
    return await Http().run(a_step(params={"url": url, **params}, settings=chosen))


async def refused(site: WebSite, **params: Any) -> AegisError:
    with pytest.raises(AegisError) as caught:
        await send(site, **params)
    assert "\n" not in str(caught.value)
    return caught.value


async def test_json_is_parsed_and_what_matters_of_the_answer_kept(site: WebSite) -> None:
    site.answers["/a"] = Answer(
        body=b'{"x": [1, null]}',
        headers={"Content-Type": "application/json; charset=utf-8", "ETag": '"1"', "X-Other": "y"},
    )
    found = await send(site, "/a", query={"q": "ä b", "n": 3})
    assert found == {
        "status": 200,
        "url": f"{site.url}/a?q=%C3%A4+b&n=3",
        "headers": {"content-type": "application/json; charset=utf-8", "etag": '"1"'},
        "body": {"x": [1, None]},
    }


async def test_bodies_headers_and_idempotency_key_are_sent(site: WebSite) -> None:
    await send(site, method="POST", json={"a": 1}, headers={"X-Number": 5})
    await send(site, method="PUT", form={"a": "b c"})
    await send(site, method="PATCH", body="text", idempotency_header="")
    await send(site, method="GET")
    first, second, third, fourth = site.asked
    assert (first.body, first.headers["x-number"]) == (b'{"a":1}', "5")
    assert first.headers["idempotency-key"] == "key-1"
    assert second.body == b"a=b+c"
    assert third.body == b"text"
    assert "idempotency-key" not in third.headers
    assert "idempotency-key" not in fourth.headers


@pytest.mark.parametrize(
    ("status", "again"), [(400, False), (404, False), (409, False), (429, True), (503, True)]
)
async def test_a_status_says_whether_another_attempt_is_worth_it(
    site: WebSite, status: int, again: bool
) -> None:
    site.answers["/"] = Answer(status=status, body=b"no\nway")
    error = await refused(site)
    assert error.code == "http_status"
    assert f"HTTP {status}: no way" in str(error)
    assert retryable(error) is again
    assert not retryable(error, ["http_status"])


async def test_how_long_to_wait_is_taken_from_the_answer(site: WebSite) -> None:
    site.answers["/"] = Answer(status=429, headers={"Retry-After": "7"})
    error = await refused(site)
    assert isinstance(error, TryLater)
    assert error.after_s == 7.0
    site.answers["/"] = Answer(status=503, headers={"Retry-After": "Thu, 01 Jan 2070 00:00:00 GMT"})
    error = await refused(site)
    assert isinstance(error, TryLater)
    assert error.after_s == 3_600.0


async def test_statuses_that_are_expected_are_results(site: WebSite) -> None:
    site.answers["/"] = Answer(status=404)
    assert (await send(site, expect=[404]))["status"] == 404
    assert (await send(site, expect=["4xx"]))["status"] == 404


async def test_redirects_are_followed_without_what_only_the_first_may_see(
    site: WebSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEGIS_SECRET_TOKEN", "s3cret-token")
    with serving_site() as other:
        site.answers["/"] = Answer(status=302, headers={"Location": f"{other.url}/there"})
        found = await send(
            site,
            headers={"Authorization": "Bearer ${secret:TOKEN}", "X-Mine": "1", "Accept": "a/b"},
        )
        assert found["url"] == f"{other.url}/there"
        assert site.asked[0].headers["authorization"] == "Bearer s3cret-token"
        (there,) = other.asked
        assert "authorization" not in there.headers
        assert "x-mine" not in there.headers
        assert there.headers["accept"] == "a/b"


async def test_redirects_to_private_addresses_and_without_end_are_refused(site: WebSite) -> None:
    site.answers["/"] = Answer(status=302, headers={"Location": "http://127.0.0.2/"})
    error = await refused(site)
    assert isinstance(error, PermissionDenied)
    site.answers["/"] = Answer(status=302, headers={"Location": "/"})
    assert (await refused(site, redirects=3)).code == "http_redirects"
    assert (await send(site, redirects=0, expect=[302]))["headers"]["location"] == "/"


async def test_a_private_address_is_refused_unless_it_is_allowed(site: WebSite) -> None:
    with pytest.raises(PermissionDenied):
        await send(site, settings=load_settings({}))
    assert site.asked == []


async def test_secrets_are_masked_bound_to_hosts_and_never_part_of_the_address(
    site: WebSite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AEGIS_SECRET_ECHO", "s3cret-echo")
    site.answers["/"] = Answer(body=b"you said s3cret-echo")
    found = await send(site, headers={"X-Key": "${secret:ECHO}"})
    assert found["body"] == "you said …"
    monkeypatch.setenv("AEGIS_SECRET_ECHO_HOSTS", "api.example.com")
    error = await refused(site, headers={"X-Key": "${secret:ECHO}"})
    assert (type(error), error.code) == (PermissionDenied, "workflow_secret_host")
    error = await refused(site, headers={"X-Key": "${secret:MISSING}"})
    assert (type(error), error.code) == (ConfigError, "workflow_secret")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "FILE").write_text("from-a-file\n")
    settings = load_settings({}, outbound_allow="127.0.0.1", data_dir=tmp_path)
    await send(site, headers={"X-Key": "${secret:FILE}"}, settings=settings)
    assert site.asked[-1].headers["x-key"] == "from-a-file"
    assert any("secret" in str(p) for p in Http().check({"url": "http://x/?k=${secret:A}"}))


async def test_a_token_of_an_earlier_answer_may_be_sent(site: WebSite) -> None:
    await send(site, headers={"Authorization": "Bearer of-an-earlier-answer"})
    assert site.asked[0].headers["authorization"] == "Bearer of-an-earlier-answer"


async def test_a_secret_in_an_error_is_masked(
    site: WebSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEGIS_SECRET_ECHO", "s3cret-echo")
    site.answers["/"] = Answer(status=400, body=b"bad key s3cret-echo")
    error = await refused(site, headers={"X-Key": "${secret:ECHO}"})
    assert "s3cret" not in str(error)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(body=b"x" * 1_001), "outbound_size"),
        (Answer(stall=True), "http_timeout"),
        (Answer(hang_up=True), "http_unreachable"),
        (Answer(body=b"{", headers={"Content-Type": "application/json"}), "http_json"),
        (Answer(body=b"[" * 900, headers={"Content-Type": "application/json"}), "http_json"),
    ],
)
async def test_bad_answers_end_in_one_line(site: WebSite, answer: Answer, code: str) -> None:
    site.answers["/"] = answer
    error = await refused(site, max_bytes=1_000, timeout_s=0.5)
    assert error.code == code


async def test_text_that_is_no_text_is_still_storable(site: WebSite) -> None:
    site.answers["/"] = Answer(body=b"a\x00\xff", headers={"Content-Type": "text/x; charset=wrong"})
    json.dumps((await send(site))["body"])
    assert "\x00" not in (await send(site))["body"]
    assert (await send(site, parse="base64"))["body"] == "YQD/"
    assert (await send(site, parse="none"))["body"] is None


@pytest.mark.parametrize(
    "headers",
    [{"A\r\nB": "x"}, {"Host": "evil"}, {"X": "a\r\nSet: b"}, {"Content-Length": "1"}, {"X": [1]}],
)
async def test_headers_that_would_be_more_than_headers_are_refused(
    site: WebSite, headers: dict[str, Any]
) -> None:
    assert Http().check({"url": site.url, "headers": headers})
    with pytest.raises(InvalidInput):
        await send(site, headers=headers)
    assert site.asked == []


async def test_a_server_that_is_gone_may_be_tried_again() -> None:
    with serving_site() as gone:
        pass
    with pytest.raises(Unavailable):
        await send(gone)
