"""``boards.toml``: what is written is read, and what is wrong is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.errors import InputError
from hw.remote import BoardEntry, Identity, find_entry, parse_address, read_registry
from hw.remote.registry import add_entry

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


@given(
    names=st.lists(NAMES, min_size=1, max_size=4, unique=True),
    host=st.sampled_from(["10.0.0.7", "board.local", "fe80::1"]),
    port=st.integers(1, 65535),
    file=st.sampled_from(["/a b/c.pem", '/quote"/ü.pem', "/back\\slash.pem"]),
)
def test_what_is_added_is_found(tmp_path_factory, names, host, port, file):
    path = tmp_path_factory.mktemp("registry") / "boards.toml"
    where = type(path)(file)
    for name in names:
        identity = Identity(certificate=where, key=where, authority=where)
        entry = BoardEntry(name=name, host=host, port=port, identity=identity)
        add_entry(path, entry)
        assert find_entry(name, path) == entry
    assert list(read_registry(path)) == names


def test_a_plain_board_is_on_this_machine(tmp_path):
    path = tmp_path / "boards.toml"
    add_entry(path, BoardEntry(name="sim", host="127.0.0.1", port=9, identity=None))
    assert find_entry("sim", path).identity is None
    path.write_text('[boards.z1]\naddress = "10.0.0.7:9"\nplain = true\n')
    with pytest.raises(InputError, match="this machine only"):
        find_entry("z1", path)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("boards = 3", "table"),
        ("[boards]\nz1 = 3", "boards.z1 must be a table"),
        ('[boards.z1]\naddres = "x"', "boards.z1.addres is unknown"),
        ("[boards.z1]\nplain = true", "no address"),
        ('[boards.z1]\naddress = "10.0.0.7"', "no certificate"),
        ('[boards.z1]\naddress = "10.0.0.7:0"\nplain = true', "no address"),
        ('[boards."a/b"]\naddress = "10.0.0.7"', "can't be a name"),
        ("[boards", "no TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, word):
    path = tmp_path / "boards.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=word):
        read_registry(path)


def test_an_unknown_board_is_answered_with_those_that_are_known(tmp_path):
    path = tmp_path / "boards.toml"
    with pytest.raises(InputError) as caught:
        find_entry("z1", path)
    assert "enrol" in caught.value.hint
    add_entry(path, BoardEntry(name="z1-lab", host="127.0.0.1", port=9, identity=None))
    with pytest.raises(InputError) as caught:
        find_entry("z1-lob", path)
    assert "did you mean z1-lab" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("board", ("board", 7968)),
        ("10.0.0.7:80", ("10.0.0.7", 80)),
        ("[fe80::1]:80", ("fe80::1", 80)),
        ("[::1]", ("::1", 7968)),
    ],
)
def test_addresses(text, expected):
    assert parse_address(text, 7968) == expected


@pytest.mark.parametrize("text", ["", ":80", "a:0", "a:65536", "a:b", "a:"])
def test_what_is_no_address(text):
    with pytest.raises(InputError, match="no address"):
        parse_address(text, 7968)
