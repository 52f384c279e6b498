"""How a cluster may be reached: Dask executes what comes over the wire, so the wire must be trusted."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from export.errors import InputError

_FORM = "an address is tls://HOST:PORT, or tcp://127.0.0.1:PORT on this machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAccess:
    """A scheduler's address, and what proves who is who.

    Attributes:
        address: ``tls://HOST:PORT`` or ``tcp://HOST:PORT``.
        tls: Authority, certificate and key, PEM files; None without TLS.
    """

    address: str
    tls: tuple[Path, Path, Path] | None

    @classmethod
    def checked(
        cls, address: str, *, tls: tuple[Path | None, Path | None, Path | None], insecure: bool = False
    ) -> ClusterAccess:
        """Return a way to the cluster that nobody else can use.

        Args:
            address: Of the scheduler.
            tls: Authority, certificate and key, or three times None.
            insecure: Whether a network without TLS is trusted.

        Raises:
            InputError: Another form of address, files that are missing, or an address without TLS that
                leaves this machine.
        """
        parts = urlsplit(address)
        try:
            good = parts.scheme in ("tcp", "tls") and bool(parts.hostname) and parts.port is not None
        except ValueError:
            good = False
        if not good or parts.path or parts.query or parts.username:
            raise InputError(f"{address!r} is no address of a cluster", hint=_FORM)
        files = tuple(path for path in tls if path is not None)
        if parts.scheme == "tls":
            return cls(address=address, tls=_three(files))
        if files:
            raise InputError(f"{address} has no TLS, yet --tls-... is given", hint="use tls://HOST:PORT")
        if not insecure and not _is_loopback(parts.hostname or ""):
            raise InputError(
                f"{address} leaves this machine without TLS, and whoever reaches that port runs code on "
                "every worker and here",
                hint="use tls:// with --tls-ca, --tls-cert and --tls-key, or --insecure on a private network",
            )
        return cls(address=address, tls=None)


def _three(files: tuple[Path, ...]) -> tuple[Path, Path, Path]:
    if len(files) != 3:
        raise InputError("tls:// needs --tls-ca, --tls-cert and --tls-key")
    for path in files:
        if not path.is_file():
            raise InputError(f"can't read {path}", hint="--tls-ca, --tls-cert and --tls-key take PEM files")
    return files[0], files[1], files[2]


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
