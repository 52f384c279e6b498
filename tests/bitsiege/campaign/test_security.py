from pathlib import Path

import pytest

from bitsiege.campaign.security import ClusterAccess
from export.errors import InputError

NO_TLS = (None, None, None)


@pytest.fixture
def pem(tmp_path: Path) -> tuple[Path, Path, Path]:
    paths = (tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem")
    for path in paths:
        path.write_text("x")
    return paths


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "localhost", "[::1]"])
def test_this_machine_needs_no_tls(host: str):
    address = f"tcp://{host}:8786"
    assert ClusterAccess.checked(address, tls=NO_TLS) == ClusterAccess(address=address, tls=None)


@pytest.mark.parametrize("host", ["10.0.0.7", "lab.example", "0.0.0.0", "127.0.0.1.example", "[fe80::1]"])
def test_another_machine_needs_tls_or_a_word(host: str):
    address = f"tcp://{host}:8786"
    with pytest.raises(InputError, match="leaves this machine without TLS"):
        ClusterAccess.checked(address, tls=NO_TLS)
    assert ClusterAccess.checked(address, tls=NO_TLS, insecure=True).tls is None


def test_tls_needs_all_three_files(pem: tuple[Path, Path, Path]):
    address = "tls://10.0.0.7:8786"
    assert ClusterAccess.checked(address, tls=pem).tls == pem
    for wrong in (NO_TLS, (pem[0], pem[1], None)):
        with pytest.raises(InputError, match="needs --tls-ca"):
            ClusterAccess.checked(address, tls=wrong, insecure=True)
    with pytest.raises(InputError, match=r"can't read .*absent"):
        ClusterAccess.checked(address, tls=(*pem[:2], Path("absent.pem")))
    with pytest.raises(InputError, match="has no TLS, yet"):
        ClusterAccess.checked("tcp://127.0.0.1:8786", tls=pem)


@pytest.mark.parametrize(
    "address",
    ["lab:8786", "inproc://a/1", "tcp://lab", "tcp://lab:x", "tcp://a:99999", "tls://u@a:1", "tcp://a:1/b"],
)
def test_other_addresses_are_refused(address: str):
    with pytest.raises(InputError, match="is no address"):
        ClusterAccess.checked(address, tls=NO_TLS, insecure=True)


def test_the_command_refuses_what_contradicts(bitsiege, campaign_file: Path, tmp_path: Path):
    words = ("campaign", campaign_file, "--out", tmp_path / "run")
    for options, message in (
        (("--cluster", "tcp://10.0.0.7:8786"), "leaves this machine without TLS"),
        (("--cluster", "tcp://127.0.0.1:1", "--jobs", 2), "either --jobs or --cluster"),
        (("--insecure",), "are about a cluster"),
    ):
        result = bitsiege(*words, *options)
        assert result.status == 2
        assert message in result.err
    assert not (tmp_path / "run").exists()
