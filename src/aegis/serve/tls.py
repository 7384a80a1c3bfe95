"""TLS of the HTTP face, from two files that the settings name."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from aegis.errors import ConfigError

if TYPE_CHECKING:
    from aegis.config import Settings

__all__ = ["tls_context"]


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return what the server speaks TLS with, 1.2 or newer; None where it does not.

    Raises:
        ConfigError: a file cannot be read, holds nothing of the kind, or the two do not fit.
    """
    if settings.tls_certificate is None:
        return None
    key = settings.tls_key or settings.tls_certificate
    for variable, path in (
        ("AEGIS_TLS_CERTIFICATE", settings.tls_certificate),
        ("AEGIS_TLS_KEY", key),
    ):
        try:
            path.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"{variable} is {path}, which cannot be read: {error.strerror}. Correct it.",
                code="tls_unreadable",
            ) from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # A key with a password would ask for it, and nobody is there to answer.
        context.load_cert_chain(settings.tls_certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            f"AEGIS_TLS_CERTIFICATE ({settings.tls_certificate}) and AEGIS_TLS_KEY ({key}) are no "
            f"certificate and its private key: {_reason(error)}. Use PEM files that fit, the key "
            "without a password.",
            code="tls_invalid",
        ) from error
    return context


def _no_password() -> str:
    raise ValueError("the key has a password")


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason or error).lower().replace("_", " ")
