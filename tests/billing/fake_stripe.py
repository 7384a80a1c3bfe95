"""A server in this process that answers as Stripe's API does, faults included."""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Generator


def nested(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Return form fields such as `metadata[a]=b` as objects."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        parts = name.replace("]", "").split("[")
        place = found
        for part in parts[:-1]:
            place = place.setdefault(part, {})
        place[parts[-1]] = value
    return found


@dataclass
class Stripe:
    """What the server holds, and how it fails next: `faults` are taken from the front."""

    url: str = ""
    objects: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    #: Identifiers of meter events and their values.
    metered: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    #: Answers by Idempotency-Key, which are given again: failures, too.
    answered: dict[str, tuple[int, dict[str, Any]]] = field(
        default_factory=dict[str, tuple[int, dict[str, Any]]]
    )
    calls: list[tuple[str, str, str | None]] = field(
        default_factory=list[tuple[str, str, str | None]]
    )
    faults: list[str] = field(default_factory=list[str])
    #: Events of the second kind, by id.
    events: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    #: Identifiers of meter events that were accepted and do not count.
    refused: set[str] = field(default_factory=set[str])
    lock: Any = field(default_factory=threading.Lock)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [o for o in self.objects.values() if o["object"] == kind]

    def answer(
        self, method: str, path: str, fields: dict[str, Any], key: str | None
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        with self.lock:
            if method == "POST" and key in self.answered:
                status, body = self.answered[key]
                return status, body, {"Idempotent-Replayed": "true"}
            status, body = self._do(method, path, fields)
            # As the API: what was never begun, because a field was wrong, is not kept.
            if method == "POST" and key is not None and status < 400:
                self.answered[key] = (status, body)
            return status, body, {}

    def _do(self, method: str, path: str, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path == "/v1/billing/meter_events":
            return self._meter(fields)
        if path.startswith("/v2/core/events/"):
            event = self.events.get(path.rsplit("/", 1)[1])
            if event is None:
                return 404, {"error": {"code": "not_found", "message": "No such event"}}
            return 200, {"object": "v2.core.event", **event}
        if path == "/v1/customers/search":
            wanted = fields["query"].split(":", 1)[1].strip("'").replace("\\'", "'")
            found = [c for c in self.of("customer")
                     if c["metadata"]["aegis_customer_id"] == wanted]  # fmt: skip
            return 200, {"object": "search_result", "data": found, "has_more": False, "url": path}
        if method == "GET" and path in ("/v1/invoices", "/v1/invoiceitems"):
            kind = "invoice" if path == "/v1/invoices" else "invoiceitem"
            name = "customer" if kind == "invoice" else "invoice"
            found = [o for o in self.of(kind) if o[name] == fields[name]]
            return 200, {"object": "list", "data": found, "has_more": False, "url": path}
        if path.startswith("/v1/invoices/"):
            invoice = self.objects.get(path.split("/")[3])
            if invoice is None:
                return refusal("resource_missing", "No such invoice")
            if path.endswith("/finalize"):
                if invoice["status"] != "draft":
                    return refusal("invoice_not_editable", "It is finalized already.")
                invoice["status"] = "open"
            return 200, invoice
        kind = {"customers": "customer", "invoices": "invoice", "invoiceitems": "invoiceitem"}[
            path.split("/")[2]
        ]
        return self._create(kind, fields)

    def _create(self, kind: str, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        customer = self.objects.get(fields.get("customer", ""))
        if kind == "invoice" and not (customer or {}).get("email"):
            return refusal("missing_email", "Missing email of the customer.")
        if kind == "invoiceitem" and self.objects[fields["invoice"]]["status"] != "draft":
            return refusal("invoice_not_editable", "The invoice is no draft.")
        prefix = {"customer": "cus", "invoice": "in", "invoiceitem": "ii"}[kind]
        number = f"{prefix}_{len(self.objects) + 1}"
        made: dict[str, Any] = {
            "id": number,
            "object": kind,
            "metadata": {},
            **fields,
            **({"status": "draft"} if kind == "invoice" else {}),
        }
        self.objects[number] = made
        return 200, made

    def _meter(self, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        identifier = fields["identifier"]
        if identifier in self.metered or identifier in self.refused:
            return refusal(None, f"An event already exists with identifier {identifier}.")
        self.metered[identifier] = fields
        return 200, {"object": "billing.meter_event", **fields}


def refusal(code: str | None, message: str) -> tuple[int, dict[str, Any]]:
    return 400, {"error": {"type": "invalid_request_error", "code": code, "message": message}}


class _Handler(BaseHTTPRequestHandler):
    stripe: Stripe

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _serve(self, method: str) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(length).decode() if method == "POST" else parts.query
        fields = nested(parse_qsl(text, keep_blank_values=True))
        key = self.headers.get("Idempotency-Key")
        self.stripe.calls.append((method, parts.path, key))
        fault = self.stripe.faults.pop(0) if self.stripe.faults else ""
        if self.headers.get("Authorization") != "Bearer sk_test_right":
            self._say(401, {"error": {"message": "Invalid API Key provided"}}, {})
        elif fault == "refuse":
            self.close_connection = True
        elif fault == "429":
            self._say(429, {"error": {"message": "Too many requests"}}, {"Retry-After": "0"})
        elif fault == "500":
            self._say(500, {"error": {"message": "Try later"}}, {})
        elif fault == "500-kept":
            # A failure of the server that its key repeats from then on.
            self.stripe.answered[str(key)] = (500, {"error": {"message": "Broken"}})
            self._say(500, {"error": {"message": "Broken"}}, {})
        elif fault == "made-500-kept":
            self.stripe.answer(method, parts.path, fields, key)
            self.stripe.answered[str(key)] = (500, {"error": {"message": "Broken"}})
            self._say(500, {"error": {"message": "Broken"}}, {})
        else:
            status, body, headers = self.stripe.answer(method, parts.path, fields, key)
            if fault == "cut":
                self.close_connection = True
                return
            if fault == "hang":
                self._outwait()
                return
            if fault == "drip":
                self._drip()
                return
            self._say(status, body, headers)

    def _outwait(self) -> None:
        """Say nothing until the client has given up."""
        self.close_connection = True
        self.connection.settimeout(60)
        with contextlib.suppress(OSError):
            self.connection.recv(1)

    def _drip(self) -> None:
        """Answer a byte at a time, so that no pause is long and the end does not come."""
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.close_connection = True
        for _ in range(30):
            threading.Event().wait(0.1)
            try:
                self.wfile.write(b" ")
            except OSError:
                return

    def _say(self, status: int, body: dict[str, Any], headers: dict[str, str]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)


@contextlib.contextmanager
def fake_stripe() -> Generator[Stripe]:
    """Serve until the block ends."""
    stripe = Stripe()
    handler = type("Handler", (_Handler,), {"stripe": stripe})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    stripe.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield stripe
    finally:
        server.shutdown()
        server.server_close()
