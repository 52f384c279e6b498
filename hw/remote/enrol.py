"""Certificates for a board and its user, made by ``openssl``; an authority of the user's vouches for both."""

from __future__ import annotations

import ipaddress
import secrets
import subprocess
import tempfile
from pathlib import Path

from export.errors import InputError, ToolError
from hw.boardserver.files import write_bytes
from hw.remote.registry import BoardEntry, Identity, add_entry, check_name

_OPENSSL_TIMEOUT_S = 60
_DAYS = {"ca": 3650, "server": 825, "client": 825}
_EXTENSIONS = {
    "ca": "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n",
    "server": "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
    "extendedKeyUsage=serverAuth\n",
    "client": "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
    "extendedKeyUsage=clientAuth\n",
}


def enrol(name: str, *, host: str, port: int, registry: Path, board_folder: Path, client: str) -> BoardEntry:
    """Make what a board and its user need to know each other, and add the board to the registry.

    The authority and the user's own certificate are made once, beside the registry.

    Args:
        name: What the user calls the board.
        host: Where it is; its certificate is for this name or address only.
        port: Of its server.
        registry: The registry's file.
        board_folder: Where the board's files go: ``server.pem``, ``server.key``, ``ca.pem``, ``clients.txt``.
        client: Name of the user in the certificate.

    Raises:
        InputError: A name or folder can't be used.
        ToolError: There is no ``openssl``, or it failed.
    """
    check_name(name)
    check_name(client)
    if board_folder.exists() and any(board_folder.iterdir()):
        raise InputError(f"{board_folder} is not empty", hint="name a new folder")
    own = registry.resolve().parent / "board-certificates"
    try:
        for folder in (own, board_folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        identity = _identity(own, client)
        _certify(own, board_folder, stem="server", kind="server", subject=name, host=host)
        write_bytes(board_folder / "ca.pem", [(own / "ca.pem").read_bytes()])
        write_bytes(board_folder / "clients.txt", [f"{client}\n".encode()])
    except OSError as error:
        raise InputError(f"can't write the certificates: {error}") from error
    entry = BoardEntry(name=name, host=host, port=port, identity=identity)
    add_entry(registry, entry)
    return entry


def _identity(own: Path, client: str) -> Identity:
    """Return the user's certificate; the authority and it are made where they aren't there."""
    if not (own / "ca.pem").exists():
        _certify(own, own, stem="ca", kind="ca", subject="Bitsiege boards")
    if not (own / f"{client}.pem").exists():
        _certify(own, own, stem=client, kind="client", subject=client)
    return Identity(certificate=own / f"{client}.pem", key=own / f"{client}.key", authority=own / "ca.pem")


def _certify(own: Path, folder: Path, *, stem: str, kind: str, subject: str, host: str = "") -> None:
    """Write ``STEM.key`` and ``STEM.pem``, the certificate last: where it is, the key is whole."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as name:
        work = Path(name)
        key, request, certificate = work / "key", work / "request", work / "certificate"
        extensions = work / "extensions"
        text = _EXTENSIONS[kind] + "subjectKeyIdentifier=hash\n"
        if kind != "ca":
            text += "authorityKeyIdentifier=keyid\n"
        if host:
            text += f"subjectAltName={_alternative(host)}\n"
        extensions.write_text(text, encoding="ascii")
        _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
        _openssl("req", "-new", "-key", key, "-subj", f"/CN={subject}", "-out", request)
        signer: tuple[str | Path, ...] = (
            ("-signkey", key) if kind == "ca" else ("-CA", own / "ca.pem", "-CAkey", own / "ca.key")
        )
        _openssl(
            *("x509", "-req", "-sha256", "-in", request, *signer, "-extfile", extensions),
            *("-days", str(_DAYS[kind]), "-set_serial", f"0x{secrets.randbits(126) + 1:x}"),
            *("-out", certificate),
        )
        write_bytes(folder / f"{stem}.key", [key.read_bytes()], keep=True)
        write_bytes(folder / f"{stem}.pem", [certificate.read_bytes()], keep=True)


def _alternative(host: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(host)}"
    except ValueError:
        # Else a host could smuggle another line into the extensions.
        if not all(letter.isalnum() or letter in ".-" for letter in host) or not host.isascii():
            raise InputError(f"{host!r} is no name of a machine") from None
        return f"DNS:{host}"


def _openssl(*words: str | Path) -> None:
    try:
        result = subprocess.run(
            ["openssl", *map(str, words)],
            capture_output=True,
            text=True,
            timeout=_OPENSSL_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
            umask=0o077,
        )
    except FileNotFoundError as error:
        raise ToolError("openssl is missing", hint="on Debian: apt-get install openssl") from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"openssl {words[0]} did not end in {_OPENSSL_TIMEOUT_S} s") from error
    if result.returncode != 0:
        raise ToolError(f"openssl {words[0]} failed: {result.stderr.strip()[-300:]}")
