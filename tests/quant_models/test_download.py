from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from export.errors import InputError
from quant_models.download import IDX_SOURCES, IdxSource, fetch, locate

_FILE = "t10k-labels-idx1-ubyte"
_CONTENT = b"\0\0\x08\x01\0\0\0\x02\x05\x07"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    """Address of a local server with a good, a wrong and a damaged copy."""
    for folder, content in (
        ("good", gzip.compress(_CONTENT)),
        ("wrong", gzip.compress(b"other")),
        ("damaged", gzip.compress(_CONTENT)[:-4]),
    ):
        (tmp_path / "www" / folder).mkdir(parents=True)
        (tmp_path / "www" / folder / f"{_FILE}.gz").write_bytes(content)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path / "www")))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def _source(*mirrors: str) -> IdxSource:
    digest = hashlib.sha256(_CONTENT).hexdigest()
    return IdxSource(name="tiny", classes=("a", "b"), mirrors=mirrors, sha256={_FILE: digest})


def test_first_good_mirror_wins(mirror: str, tmp_path: Path) -> None:
    source = _source(*(f"{mirror}/{folder}/" for folder in ("missing", "wrong", "damaged", "good")))
    path = fetch(source, _FILE, tmp_path / "cache")
    assert path == tmp_path / "cache" / "tiny" / f"{_FILE}.gz"
    assert gzip.decompress(path.read_bytes()) == _CONTENT


def test_downloaded_once(mirror: str, tmp_path: Path) -> None:
    first = fetch(_source(f"{mirror}/good/"), _FILE, tmp_path)
    assert fetch(_source("http://127.0.0.1:1/"), _FILE, tmp_path) == first


def test_failure_names_mirrors_and_the_way_out(mirror: str, tmp_path: Path) -> None:
    mirrors = (f"{mirror}/missing/", f"{mirror}/wrong/", "http://127.0.0.1:1/")
    with pytest.raises(InputError, match="can't download") as caught:
        fetch(_source(*mirrors), _FILE, tmp_path / "cache")
    assert all(address in caught.value.message for address in mirrors)
    assert "--data-dir" in caught.value.hint
    assert not list((tmp_path / "cache").rglob("*.gz"))


def test_every_source_has_mirrors_and_four_hashes() -> None:
    assert set(IDX_SOURCES) == {"mnist", "fashion-mnist"}
    for source in IDX_SOURCES.values():
        assert len(source.mirrors) >= 3
        assert all(address.endswith("/") for address in source.mirrors)
        assert len(source.sha256) == 4
        assert all(len(digest) == 64 for digest in source.sha256.values())


def test_locate_takes_packed_and_plain(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / _FILE).write_bytes(_CONTENT)
    assert locate(_source(), _FILE, tmp_path) == folder / _FILE
    (folder / f"{_FILE}.gz").write_bytes(gzip.compress(_CONTENT))
    assert locate(_source(), _FILE, tmp_path) == folder / f"{_FILE}.gz"
