"""One message over one channel. What fails says why without the address, which is a secret.

`Unavailable` may succeed later; `ConfigError` will not before somebody changes something.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any, Final

from aegis.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    from aegis.alerts.addresses import Address
    from aegis.alerts.message import Message

__all__ = ["TIMEOUT_S", "send", "sign"]

#: Seconds that a channel may take.
TIMEOUT_S: Final = 20.0
_COLOURS: Final = {"critical": "#c0392b", "warning": "#e0a800", "ok": "#2e7d32"}
#: Statuses of HTTP that say: not now.
_LATER: Final = frozenset({408, 409, 423, 425, 429})


async def send(address: Address, message: Message, *, timeout_s: float = TIMEOUT_S) -> None:
    """Send a message.

    Raises:
        Unavailable: it did not arrive, and may another time.
        ConfigError: the receiver refuses it for good, or what the channel needs is not installed.
    """
    try:
        async with asyncio.timeout(timeout_s):
            match address.kind:
                case "webhook":
                    await _webhook(address, message)
                case "slack":
                    await _post(address, _slack(message), {})
                case "email":
                    await asyncio.to_thread(_email, address, message, timeout_s)
                case "command":
                    await _command(address, message)
                case "apprise":
                    await _apprise(address, message)
    except TimeoutError:
        raise _later(address, f"takes longer than {timeout_s:g} s") from None


def sign(secret: str, at: int, body: bytes) -> str:
    """Return the header that tells a receiver who sent this: `t=SECONDS,v1=HMAC-SHA-256`.

    The hash is of `SECONDS.BODY`, so that an old message cannot be sent again as a new one.
    """
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"


async def _webhook(address: Address, message: Message) -> None:
    body = json.dumps(message.document(), ensure_ascii=False).encode()
    headers = {"X-Aegis-Delivery": message.delivery_id, "Idempotency-Key": message.delivery_id}
    if address.secret is not None:
        headers["X-Aegis-Signature"] = sign(address.secret, int(time.time()), body)
    await _post(address, body, headers)


async def _post(address: Address, body: bytes, headers: dict[str, str]) -> None:
    import httpx2

    try:
        async with (
            httpx2.AsyncClient(timeout=None, follow_redirects=False) as client,
            client.stream(
                "POST",
                address.url,
                content=body,
                headers={"Content-Type": "application/json", "User-Agent": "aegis", **headers},
            ) as reply,
        ):
            status = reply.status_code
    except (httpx2.RequestError, httpx2.StreamError, httpx2.InvalidURL) as error:
        # The error's text may quote the address.
        raise _later(address, f"cannot be reached ({type(error).__name__})") from None
    if 200 <= status < 300:
        return
    if status >= 500 or status in _LATER:
        raise _later(address, f"answers with HTTP {status}")
    raise _never(address, f"refuses it (HTTP {status})")


def _slack(message: Message) -> bytes:
    # `&`, `<` and `>` are the signs that Slack reads; nobody may ping a channel through a title.
    body = message.body.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    subject = message.subject.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    document: dict[str, Any] = {
        "text": subject,
        "attachments": [
            {
                "color": _COLOURS.get(message.severity, _COLOURS["warning"]),
                "fallback": subject,
                "text": f"```\n{body.replace('```', '`')}\n```",
                "mrkdwn_in": ["text"],
            }
        ],
    }
    return json.dumps(document, ensure_ascii=False).encode()


def _email(address: Address, message: Message, timeout_s: float) -> None:
    import smtplib
    import ssl
    from email.message import EmailMessage
    from urllib.parse import parse_qs, unquote, urlsplit

    parts = urlsplit(address.url)
    query = parse_qs(parts.query)
    mail = EmailMessage()
    mail["Subject"] = " ".join(message.subject.split())[:200]
    mail["From"] = query.get("from", ["aegis@localhost"])[0]
    mail["To"] = ", ".join(query["to"])
    mail["Message-ID"] = f"<{message.delivery_id}@aegis>"
    mail["X-Aegis-Delivery"] = message.delivery_id
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.body)
    host = parts.hostname or ""
    try:
        if parts.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                host, parts.port or 465, timeout=timeout_s, context=ssl.create_default_context()
            )
        else:
            server = smtplib.SMTP(host, parts.port or 587, timeout=timeout_s)
        with server:
            if parts.scheme == "smtp":
                server.starttls(context=ssl.create_default_context())
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            server.send_message(mail)
    except smtplib.SMTPAuthenticationError:
        raise _never(address, "refuses the user or the password") from None
    except smtplib.SMTPResponseException as error:
        if 500 <= error.smtp_code < 600:
            raise _never(address, f"refuses it (SMTP {error.smtp_code})") from None
        raise _later(address, f"answers with SMTP {error.smtp_code}") from None
    except smtplib.SMTPRecipientsRefused:
        raise _never(address, "refuses the recipients") from None
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise _later(address, f"cannot be reached ({type(error).__name__})") from None


async def _command(address: Address, message: Message) -> None:
    body = json.dumps(message.document(), ensure_ascii=False).encode()
    try:
        process = await asyncio.create_subprocess_exec(
            address.url,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            # Nothing of ours, which holds passwords.
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"},
        )
    except OSError as error:
        raise _never(address, f"cannot be run ({error.strerror})") from None
    try:
        await process.communicate(body)
    except BaseException:
        # Its children, too: whoever is cancelled leaves nothing running.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    if process.returncode:
        raise _later(address, f"ends with status {process.returncode}")


async def _apprise(address: Address, message: Message) -> None:
    try:
        import apprise
    except ImportError:
        raise _never(address, "needs the package apprise: install aegis-core[alerts]") from None
    kinds = {
        "critical": apprise.NotifyType.FAILURE,
        "warning": apprise.NotifyType.WARNING,
        "ok": apprise.NotifyType.SUCCESS,
    }
    target: Any = apprise.Apprise()
    if not target.add(address.url):
        raise _never(address, "is no address that apprise knows")
    sent = await target.async_notify(
        message.body,
        title=message.subject,
        notify_type=kinds.get(message.severity, apprise.NotifyType.INFO),
        body_format=apprise.NotifyFormat.TEXT,
    )
    if not sent:
        raise _later(address, "did not take it")


def _later(address: Address, trouble: str) -> Unavailable:
    return Unavailable(
        f"Channel {address.name!r} ({address.shown}) {trouble}.", code="alert_channel_unavailable"
    )


def _never(address: Address, trouble: str) -> ConfigError:
    return ConfigError(
        f"Channel {address.name!r} ({address.shown}) {trouble}; check AEGIS_ALERT_CHANNELS.",
        code="alert_channel_refused",
    )
