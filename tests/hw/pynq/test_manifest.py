"""overlay.json: what is read, and that every damage is named."""

import hashlib
import json

import pytest

from hw.pynq import BadInputError, WrongOverlayError, finn_settings, parse_manifest, read_manifest


@pytest.fixture
def good(document, build_mlp):
    return document(build_mlp((12, 8, 5)))


def changed(document, path, value):
    copy = json.loads(json.dumps(document))
    *parents, last = path.split(".")
    place = copy
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return copy


def test_what_is_read(good, tmp_path):
    (tmp_path / "overlay.json").write_text(json.dumps(good))
    for path in (tmp_path, tmp_path / "overlay.json"):
        manifest = read_manifest(path)
        assert manifest.folder == tmp_path
        assert manifest.input_shape == (12, 1, 1)
        assert manifest.input_bytes == 12
        assert (manifest.classes, manifest.output_type, manifest.output_bytes) == (5, "int32", 24)
        assert manifest.registers == {"idma0": 0x43C00000, "odma0": 0x43C01000, "control0": 0x43C02000}
        assert (manifest.clock.asked, manifest.clock.planned, manifest.clock.achieved) == (100, 100, None)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("format", "other", "no overlay.json of Bitsiege"),
        ("version", 2, "has version 2, this driver reads 1"),
        ("version", True, "version is True, it must be a whole number above 0"),
        ("name", None, "lacks name"),
        ("board", 5, "board is 5, it must be a text"),
        ("design_hash", "ab", "design_hash is 'ab', it must be a SHA-256"),
        ("input.shape", [1, 2], "height, width and channels"),
        ("input.shape", [1, 2, -3], "input.shape is .*, it must be a list of whole numbers"),
        ("input.shape", 3, "input.shape is 3"),
        ("input.dtype", "int8", "input must be uint8"),
        ("output.classes", None, "lacks output.classes"),
        ("output.dtype", "float32", "output.dtype is 'float32'"),
        ("output.bytes_per_frame", 16, "5 logits of int32 take 20, in whole words of 8"),
        ("output.bytes_per_frame", 20, "in whole words of 8"),
        ("registers.odma0", None, "lacks registers.odma0"),
        ("registers.odma0", "43C0", "must be an address such as"),
        ("registers", [], "lacks registers.idma0"),
        ("clock.asked_mhz", "fast", "a frequency in MHz"),
        ("clock.achieved_mhz", -1, "a frequency in MHz"),
        ("draws", 1, "true or false"),
        ("files", {"a.bit": "x"}, "no SHA-256 for a.bit"),
        ("files", [], "an object of SHA-256"),
    ],
)
def test_damage_is_named(good, path, value, words):
    with pytest.raises(BadInputError, match=words):
        parse_manifest(changed(good, path, value))


def test_files_that_are_no_manifest(tmp_path):
    for content, words in (
        (b"{", "damaged"),
        (b"\xff", "damaged"),
        (b"[" * 100_000, "damaged"),
        (b"3", "lacks"),
    ):
        (tmp_path / "overlay.json").write_bytes(content)
        with pytest.raises(BadInputError, match=words):
            read_manifest(tmp_path)
    with pytest.raises(BadInputError, match="can't read"):
        read_manifest(tmp_path / "none")


def test_files_are_compared_with_their_hashes(good, tmp_path):
    (tmp_path / "a.bit").write_bytes(b"bits")
    good["files"] = {"a.bit": hashlib.sha256(b"bits").hexdigest(), "gone.hwh": "ab" * 32}
    manifest = parse_manifest(good, folder=tmp_path)
    assert manifest.check_file("a.bit") == tmp_path / "a.bit"
    (tmp_path / "a.bit").write_bytes(b"bit")
    with pytest.raises(WrongOverlayError, match=r"a\.bit is not the file that overlay\.json lists"):
        manifest.check_file("a.bit")
    with pytest.raises(WrongOverlayError, match=r"can't read .*gone\.hwh"):
        manifest.check_file("gone.hwh")
    with pytest.raises(WrongOverlayError, match=r"lists no file other\.bit"):
        manifest.check_file("other.bit")


def test_settings_for_finn(good):
    settings = finn_settings(parse_manifest(good), batch_size=7)["driver_information"]
    assert (settings["driver_type"], settings["platform"]) == ("FINNDMAOverlay", "zynq-iodma")
    assert (settings["batch_size"], settings["fclk_mhz"]) == (7, 100)
    shapes = settings["io_shape_dict"]
    assert shapes["ishape_packed"] == [[1, 12, 1, 1]]
    assert shapes["oshape_packed"] == [[1, 24]]
    assert (shapes["idt"], shapes["odt"]) == (["DataType['UINT8']"], ["DataType['INT32']"])
    assert json.loads(json.dumps(settings)) == settings
