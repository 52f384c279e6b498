from pathlib import Path

import pytest

from bitsiege.tomlfile import read_toml
from export.errors import InputError


@pytest.mark.parametrize(
    "content",
    [b"name = ", b"\xff\xfe", b"x = " + b"[" * 5000, b"#" * (1 << 20) + b"\n", b"a = 1\na = 2"],
    ids=["cut off", "no text", "deep", "huge", "twice"],
)
def test_files_that_are_no_toml(tmp_path: Path, content: bytes):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.toml"):
        read_toml(path, example="configs/demo.toml")


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(InputError, match="No such file"):
        read_toml(tmp_path / "none.toml", example="x")
