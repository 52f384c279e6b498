"""Certificates: whole, for what they are for, and nobody else's to read."""

import ssl
import subprocess

import pytest

from export.errors import InputError, ToolError
from hw.remote import BoardClient, enrol, find_entry


def make(folder, name="z1", host="127.0.0.1", client="user"):
    return enrol(
        name,
        host=host,
        port=7968,
        registry=folder / "boards.toml",
        board_folder=folder / f"{name}-credentials",
        client=client,
    )


def text_of(file):
    command = ["openssl", "x509", "-in", str(file), "-noout", "-text"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_board_is_enrolled(tmp_path):
    entry = make(tmp_path)
    assert find_entry("z1", tmp_path / "boards.toml") == entry
    board = tmp_path / "z1-credentials"
    assert sorted(file.name for file in board.iterdir()) == [
        "ca.pem",
        "clients.txt",
        "server.key",
        "server.pem",
    ]
    assert (board / "clients.txt").read_text() == "user\n"
    for folder in (board, tmp_path / "board-certificates"):
        assert folder.stat().st_mode & 0o777 == 0o700
        for file in folder.iterdir():
            assert file.stat().st_mode & 0o077 == 0, file
    server, client = text_of(board / "server.pem"), text_of(entry.identity.certificate)
    assert "IP Address:127.0.0.1" in server
    assert "TLS Web Server Authentication" in server
    assert "TLS Web Client Authentication" in client
    assert "Client Authentication" not in server
    assert "CA:FALSE" in server
    authority = text_of(board / "ca.pem")
    assert "CA:TRUE, pathlen:0" in authority
    assert not (board / "ca.key").exists()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    context.load_verify_locations(board / "ca.pem")


def test_the_authority_and_the_user_stay_the_same(tmp_path):
    first, second = make(tmp_path, "one"), make(tmp_path, "two", host="board.local")
    assert first.identity == second.identity
    assert (tmp_path / "one-credentials" / "ca.pem").read_bytes() == (
        tmp_path / "two-credentials" / "ca.pem"
    ).read_bytes()
    assert "DNS:board.local" in text_of(tmp_path / "two-credentials" / "server.pem")


@pytest.mark.parametrize("bad", [{"name": "a/b"}, {"client": "x y"}, {"host": "a\nCA:TRUE"}, {"host": "a b"}])
def test_names_can_t_smuggle_anything_in(tmp_path, bad):
    with pytest.raises(InputError):
        enrol(
            bad.get("name", "z1"),
            host=bad.get("host", "127.0.0.1"),
            port=1,
            registry=tmp_path / "boards.toml",
            board_folder=tmp_path / "credentials",
            client=bad.get("client", "user"),
        )
    assert not (tmp_path / "boards.toml").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "z1-credentials").mkdir()
    (tmp_path / "z1-credentials" / "mine").write_text("x")
    with pytest.raises(InputError, match="not empty"):
        make(tmp_path)


def test_a_missing_openssl_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="openssl is missing"):
        make(tmp_path)


def test_the_registry_may_be_named_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entry = make(type(tmp_path)("sub"))
    monkeypatch.chdir("/")
    assert find_entry("z1", tmp_path / "sub" / "boards.toml") == entry
    assert entry.identity.certificate.is_file()


def test_a_certificate_that_is_gone_is_named(tmp_path):
    entry = make(tmp_path)
    entry.identity.key.unlink()
    with pytest.raises(InputError, match=r"user\.key, which is not there"):
        BoardClient(entry)
