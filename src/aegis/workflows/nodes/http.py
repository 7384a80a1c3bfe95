"""HTTP requests, guarded: see `aegis.outbound`.

Redirects are followed here, one at a time, so that headers stay with the host they were written
for. Waiting and size are bounded; what an answer says decides whether another attempt is made.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import anyio

from aegis.errors import AegisError, InvalidInput, Unavailable
from aegis.workflows.models import Problem
from aegis.workflows.nodes.contract import TryLater
from aegis.workflows.nodes.kind import Kind
from aegis.workflows.nodes.params import Param
from aegis.workflows.nodes.secrets import Secrets, names_in
from aegis.workflows.templates import has_template

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import httpx2

    from aegis.workflows.models import JSON
    from aegis.workflows.nodes.contract import Step

__all__ = ["Http"]

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
#: Methods that say the same when they are sent twice; others get an idempotency key.
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
#: What a result keeps of an answer's headers.
_KEPT: Final = ("content-type", "etag", "last-modified", "location", "link", "retry-after")
#: Set by the client; another value would make the request another.
_OWN: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade"})
#: A result is kept in the database; see `payload.MOST_RESULT_BYTES`.
_MOST_BYTES = 200_000


class Http(Kind):
    """Sends a request."""

    name = "http"
    doc = (
        "Sends an HTTP request to an address of the public internet, or one that "
        "`AEGIS_OUTBOUND_ALLOW` names."
    )
    result = '`{"status", "url", "headers", "body"}`, the body parsed where it is JSON'
    params: ClassVar[Mapping[str, Param]] = {
        "url": Param("text", "Address, http or https.", required=True, least=1, most=8_000),
        "method": Param("text", "Method.", default="GET", choices=METHODS),
        "headers": Param(
            "object", "Headers; `${secret:NAME}` in one is replaced when it is sent.", default={}
        ),
        "query": Param("object", "Names and values added to the address.", default={}),
        "json": Param("any", "Body, sent as JSON."),
        "form": Param("object", "Body, sent as a form."),
        "body": Param("text", "Body, sent as it is.", most=5_000_000),
        "expect": Param(
            "list", "Statuses that are no failure: numbers, or `2xx`.", default=["2xx"], least=1
        ),
        "parse": Param(
            "text",
            "What the body is: `auto` by its type, `json`, `text`, `base64`, or `none` to drop it.",
            default="auto",
            choices=("auto", "json", "text", "base64", "none"),
        ),
        "redirects": Param("whole", "Redirects followed of GET and HEAD.", default=5, most=20),
        "timeout_s": Param("number", "Seconds for all of it.", default=30, least=0.1, most=600),
        "max_bytes": Param(
            "whole", "Bytes of a body at most.", default=_MOST_BYTES, least=1, most=_MOST_BYTES
        ),
        "idempotency_header": Param(
            "text",
            "Header that tells attempts of one step as one request, sent with methods that "
            "change something; empty for none.",
            default="Idempotency-Key",
            most=100,
        ),
    }

    def check_more(self, params: Mapping[str, JSON]) -> Sequence[Problem]:
        """Return what is wrong with the address, the headers and the bodies."""
        problems = [
            Problem(node="", field=f"params.{field}", message=message)
            for field, message in (
                *_url_troubles(params.get("url")),
                *_header_troubles(params.get("headers")),
                *_status_troubles(params.get("expect")),
            )
        ]
        bodies = [name for name in ("json", "form", "body") if params.get(name) is not None]
        if len(bodies) > 1:
            problems.append(
                Problem(
                    node="", field="params", message=f"has {' and '.join(bodies)}; give one body"
                )
            )
        return problems

    async def act(self, step: Step, **params: Any) -> JSON:
        """Send it and read the answer."""
        import httpx2

        secrets = Secrets(step.parts.settings)
        try:
            with anyio.fail_after(params["timeout_s"]):
                return secrets.mask(await _send(step, params, secrets))
        except AegisError as error:
            # The answer that it quotes may repeat what it was sent.
            error.message = secrets.mask(error.message)
            error.args = (error.message,)
            raise
        except TimeoutError:
            raise Unavailable(
                f"{_host(params['url'])} did not answer within {params['timeout_s']:g} s.",
                code="http_timeout",
            ) from None
        except httpx2.HTTPError as error:
            # The text of an error may quote a header.
            raise Unavailable(
                f"{_host(params['url'])} cannot be reached ({type(error).__name__}).",
                code="http_unreachable",
            ) from None


async def _send(step: Step, params: Mapping[str, Any], secrets: Secrets) -> JSON:
    from aegis.outbound import check_url, guarded_client, read_body

    method: str = params["method"]
    url = check_url(params["url"])
    if params["query"]:
        url = url.copy_merge_params({k: _text(v) for k, v in params["query"].items()})
    written = _headers(step, params)
    client = guarded_client(step.parts.settings, timeout_s=params["timeout_s"])
    async with client:
        first = url
        for hop in range(params["redirects"] + 1):
            headers = _headers_for(written, url, first, secrets)
            request = client.build_request(
                method, url, headers=headers, **(_content(params) if hop == 0 else {})
            )
            answer = await client.send(request, stream=True)
            try:
                following = _following(answer, method, hop, params["redirects"])
                if following is None:
                    body = b""
                    if params["parse"] != "none" and method != "HEAD":
                        body = await read_body(answer, params["max_bytes"])
                    return _result(answer, body, params)
            finally:
                await answer.aclose()
            url = check_url(str(url.join(following)))
    raise AssertionError("unreachable")


def _headers(step: Step, params: Mapping[str, Any]) -> dict[str, str]:
    for field, message in _header_troubles(params["headers"], written=False):
        raise InvalidInput(f"Parameter {field}: {message}.", code="workflow_parameter")
    headers = {name: _text(value) for name, value in params["headers"].items()}
    key_header: str = params["idempotency_header"]
    if params["method"] not in _SAFE and key_header:
        names = {name.lower() for name in headers}
        if key_header.lower() not in names:
            headers[key_header] = step.idempotency_key
    return headers


def _headers_for(
    written: Mapping[str, str], url: httpx2.URL, first: httpx2.URL, secrets: Secrets
) -> dict[str, str]:
    """Return the headers for one hop: another origin gets none that only the first may see."""
    same = (url.scheme, url.host, url.port) == (first.scheme, first.host, first.port)
    if same:
        return {name: secrets.fill(value, url.host) for name, value in written.items()}
    harmless = ("accept", "accept-language", "user-agent")
    return {n: v for n, v in written.items() if n.lower() in harmless and not names_in(v)}


def _content(params: Mapping[str, Any]) -> dict[str, Any]:
    if params["json"] is not None:
        return {"json": params["json"]}
    if params["form"] is not None:
        return {"data": {k: _text(v) for k, v in params["form"].items()}}
    return {"content": params["body"].encode()} if params["body"] is not None else {}


def _following(answer: httpx2.Response, method: str, hop: int, most: int) -> str | None:
    """Return where a redirect leads, if it is followed."""
    location = answer.headers.get("Location")
    if answer.status_code not in _REDIRECTS or not location or method not in ("GET", "HEAD"):
        return None
    if hop < most:
        return location
    if most == 0:
        return None
    raise InvalidInput(
        f"{answer.url.host} redirects more than {most} times.", code="http_redirects"
    )


def _result(answer: httpx2.Response, body: bytes, params: Mapping[str, Any]) -> JSON:
    status = answer.status_code
    if not _expected(status, params["expect"]):
        said = " ".join(body[:300].decode(errors="replace").split())
        message = f"{answer.url.host} answers with HTTP {status}" + (f": {said}" if said else ".")
        if status not in _RETRIED:
            raise InvalidInput(message, code="http_status")
        wish_s = _seconds(answer.headers.get("Retry-After"))
        if wish_s:
            raise TryLater(message, after_s=wish_s, code="http_status")
        raise Unavailable(message, code="http_status")
    return {
        "status": status,
        "url": str(answer.url),
        "headers": {n: answer.headers[n] for n in _KEPT if n in answer.headers},
        "body": _parsed(answer, body, params["parse"]),
    }


def _parsed(answer: httpx2.Response, body: bytes, how: str) -> JSON:
    if how == "none":
        return None
    if how == "base64":
        return base64.b64encode(body).decode()
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    is_json = kind == "application/json" or kind.endswith("+json")
    if how == "json" or (how == "auto" and is_json and body):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise Unavailable(
                f"{answer.url.host} answers with what is no JSON.", code="http_json"
            ) from None
    try:
        text = body.decode(answer.charset_encoding or "utf-8", errors="replace")
    except LookupError:
        text = body.decode(errors="replace")
    return text.replace("\x00", "\ufffd")


def _expected(status: int, expect: Sequence[Any]) -> bool:
    return any(e == status or str(e).lower() == f"{status // 100}xx" or str(e) == str(status)
               for e in expect)  # fmt: skip


def _seconds(text: str | None) -> float:
    """Return the seconds that `Retry-After` asks for, a number or a date; an hour at most."""
    if not text:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        from datetime import UTC, datetime
        from email.utils import parsedate_to_datetime

        try:
            at = parsedate_to_datetime(text)
        except ValueError:
            return 0.0
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        seconds = (at - datetime.now(UTC)).total_seconds()
    return min(seconds, 3_600.0) if seconds > 0 else 0.0


def _url_troubles(url: JSON) -> list[tuple[str, str]]:
    if not isinstance(url, str) or has_template(url):
        return []
    if not url.lower().startswith(("http://", "https://")):
        return [("url", f"is {url[:60]!r}; use an address such as https://example.com/")]
    if names_in(url):
        return [("url", "holds a secret, which logs would show; send it in a header")]
    return []


def _header_troubles(headers: JSON, *, written: bool = True) -> list[tuple[str, str]]:
    """Return what is wrong; of headers as `written`, also a credential that would be stored."""
    if not isinstance(headers, dict):
        return []
    troubles: list[tuple[str, str]] = []
    for name, value in cast("dict[str, Any]", headers).items():
        if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            troubles.append((f"headers.{name[:40]}", "is no name of a header"))
        elif name.lower() in _OWN:
            troubles.append((f"headers.{name}", "is set by the client; leave it out"))
        elif not isinstance(value, (str, int, float)) or not str(value).isprintable():
            troubles.append((f"headers.{name}", "is no text on one line"))
        elif (
            written
            and name.lower() in ("authorization", "cookie", "proxy-authorization")
            and not (names_in(str(value)) or has_template(value))
        ):
            troubles.append(
                (f"headers.{name}", "would store a credential; write ${secret:NAME} instead")
            )
    return troubles


def _status_troubles(expect: JSON) -> list[tuple[str, str]]:
    if not isinstance(expect, list):
        return []
    wrong = [
        e
        for e in cast("list[Any]", expect)
        if not has_template(e)
        and not (isinstance(e, int) and 100 <= e <= 599)
        and str(e).lower() not in ("1xx", "2xx", "3xx", "4xx", "5xx")
    ]
    return [("expect", f"has {wrong[0]!r:.40}; use statuses such as 404, or 2xx")] if wrong else []


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value)


def _host(url: str) -> str:
    return url.split("://", 1)[-1].split("/", 1)[0].rpartition("@")[2][:100]
