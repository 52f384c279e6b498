import pytest

from export.errors import InputError
from hw.rtl_pages import PAGES_DIR, RTL_DIR, pages, read_header, write_page, write_pages

GOOD = """\
/// Does a thing.
///
/// Latency: 1 cycle.
`default_nettype none

module bnn_thing #(
    /// Elements of a beat [elements],
    /// at least 1.
    parameter  int unsigned LANES = 8,
    /// A file.
    parameter               FILE  = "a.mem",
    /// Derived.
    localparam int unsigned WIDTH = (LANES > 1) ? $clog2(
        LANES | 1
    ) : 1
) (
    input  wire logic             clk,
    /// The data.
    input  wire logic [WIDTH-1:0] s_axis_tdata,
    output wire logic             m_axis_tvalid
);
endmodule
"""


def test_a_header_is_read_as_it_stands():
    header = read_header(GOOD, where="x.sv")
    assert header.name == "bnn_thing"
    assert header.description == ("Does a thing.", "", "Latency: 1 cycle.")
    assert [(p.name, p.kind, p.value) for p in header.parameters] == [
        ("LANES", "parameter", "8"),
        ("FILE", "parameter", '"a.mem"'),
        ("WIDTH", "localparam", "(LANES > 1) ? $clog2( LANES | 1 ) : 1"),
    ]
    assert header.parameters[0].text == "Elements of a beat [elements], at least 1."
    assert [(p.name, p.kind, p.value, p.text) for p in header.ports] == [
        ("clk", "input", "1", ""),
        ("s_axis_tdata", "input", "[WIDTH-1:0]", "The data."),
        ("m_axis_tvalid", "output", "1", ""),
    ]
    # A bar would end a cell of the table.
    assert "$clog2( LANES \\| 1 )" in write_page(header)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("/// A file.\n", "", "FILE has no"),
        ("module bnn_thing", "modul bnn_thing", "no module"),
        ("/// Does a thing.\n///\n/// Latency: 1 cycle.\n", "", "no module with a description"),
        ("clk,", "clk, rst_n,", "can't read the declaration"),
    ],
)
def test_a_header_that_says_too_little_is_refused(old: str, new: str, reason: str):
    with pytest.raises(InputError, match=reason):
        read_header(GOOD.replace(old, new), where="x.sv")


def test_every_module_has_a_page_and_it_is_current():
    """If this fails: python -m hw.rtl_pages."""
    wanted = pages()
    assert set(wanted) == {f"{path.stem}.md" for path in RTL_DIR.glob("*.sv")}
    assert {path.name: path.read_text() for path in PAGES_DIR.glob("*.md")} == dict(wanted)


def test_stale_pages_go_away(tmp_path):
    (tmp_path / "bnn_gone.md").write_text("old")
    write_pages(tmp_path)
    assert {path.name for path in tmp_path.glob("*.md")} == set(pages())
