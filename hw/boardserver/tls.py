"""Who talks to whom: TLS with certificates on both sides."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any, cast

from .errors import NOT_ALLOWED, RequestError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def server_context(certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """Return what the server speaks: nobody without a certificate of the authority gets past the handshake.

    Raises:
        OSError: A file can't be read, or isn't what it should be (`ssl.SSLError`).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    return _filled(context, certificate, key, authority)


def client_context(certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """Return what a client speaks: it talks to no server but the one that the authority vouches for.

    Raises:
        OSError: A file can't be read, or isn't what it should be (`ssl.SSLError`).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = True
    return _filled(context, certificate, key, authority)


def peer_name(certificate: dict[str, Any] | None) -> str:
    """Return the common name of a verified certificate, as `ssl.SSLSocket.getpeercert` gives it.

    Raises:
        RequestError: There is none, or it isn't a plain name.
    """
    names = [
        str(value)
        for group in cast("tuple[Any, ...]", (certificate or {}).get("subject", ()))
        for key, value in group
        if key == "commonName"
    ]
    if len(names) != 1 or not NAME.fullmatch(names[0]):
        raise RequestError(NOT_ALLOWED, "the certificate names nobody")
    return names[0]


def _filled(context: ssl.SSLContext, certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(authority)
    return context
