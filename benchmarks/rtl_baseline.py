"""The peer of benchmarks.rtl: the same network in SystemVerilog without FIFOs, converters or handshakes.

Every layer is a free-running unit of PE x SIMD lanes that follows a counter of II cycles, one pipeline behind
the layer before it; a frame goes from layer to layer as one wide register. It computes the same logits, and
stands for what Verilator can reach on the arithmetic alone. It can't be stalled, so it is no hardware to use.
"""

from __future__ import annotations

from pathlib import Path

from export.graph import DataflowGraph, Mvau, Thresholding
from hw.folding import Folding
from hw.rtlgen.memory import accumulator_width, hex_words, offset_words, threshold_words, weight_words
from hw.verilator import Design

_STAGES = 4

_LAYER = """
module layer #(
    parameter int MW, MH, SIMD, PE, II, START, FIRST, LAST, ACC_W, OUT_W,
    parameter WEIGHTS = "", PARAMS = "",
    localparam int SF = MW / SIMD, NF = MH / PE, DEPTH = SF * NF, PARAM_W = LAST ? OUT_W : ACC_W
) (
    input wire clk, input wire rst_n,
    input wire [SIMD-1:0] beat, input wire [MW-1:0] vector, input wire before_done,
    output logic taking, output logic [MH-1:0] result, output logic done,
    output logic [PE*OUT_W-1:0] logits, output logic logits_valid, output logic logits_last
);
  localparam int C_W = $clog2(II + 1);
  logic [PE*SIMD-1:0] weights[DEPTH], weights_1;
  logic [PE*PARAM_W-1:0] params[NF], params_3;
  logic [SIMD-1:0] frame[SF], x, x_1;
  logic [MW-1:0] hold;
  logic [C_W-1:0] c;
  logic [$clog2(SF+1)-1:0] sf;
  logic [$clog2(NF+1)-1:0] nf, nf_1, nf_2, nf_3, nf_4;
  logic active, on, on_1, on_2, on_3, on_4, first_1, first_2, last_1, last_2;
  initial $readmemh(WEIGHTS, weights);
  initial $readmemh(PARAMS, params);
  assign on = (c < C_W'(DEPTH)) && (active || FIRST != 0);
  assign taking = FIRST != 0 && c < C_W'(SF);
  if (FIRST != 0) begin : g_first
    assign x = taking ? beat : frame[sf];
    always_ff @(posedge clk) if (taking) frame[sf] <= beat;
  end else begin : g_inner
    assign x = hold[sf*SIMD+:SIMD];
  end
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      c <= C_W'(START); sf <= '0; nf <= '0; active <= 0; done <= 0;
      on_1 <= 0; on_2 <= 0; on_3 <= 0; on_4 <= 0;
    end else begin
      c <= (c == C_W'(II - 1)) ? '0 : c + 1'b1;
      if (c == C_W'(II - 1)) begin
        hold <= vector; active <= before_done; done <= active || FIRST != 0; sf <= '0; nf <= '0;
      end else if (on) begin
        sf <= (sf == SF - 1) ? '0 : sf + 1'b1;
        if (sf == SF - 1) nf <= nf + 1'b1;
      end
      on_1 <= on; on_2 <= on_1; on_3 <= on_2 && last_2; on_4 <= on_3;
    end
    if (on) begin
      weights_1 <= weights[$clog2(DEPTH+1)'(c)]; x_1 <= x;
      nf_1 <= nf; first_1 <= sf == '0; last_1 <= sf == SF - 1;
    end
    nf_2 <= nf_1; first_2 <= first_1; last_2 <= last_1; nf_3 <= nf_2; nf_4 <= nf_3;
    if (on_2 && last_2) params_3 <= params[nf_2];
  end
  logic [PE-1:0] fires;
  for (genvar p = 0; p < PE; p++) begin : g_pe
    logic [$clog2(SIMD+1)-1:0] sum_2;
    logic [ACC_W-1:0] acc_3;
    always_ff @(posedge clk) begin
      if (on_1) sum_2 <= $clog2(SIMD+1)'($countones(weights_1[p*SIMD+:SIMD] ~^ x_1));
      if (on_2) acc_3 <= first_2 ? ACC_W'(sum_2) : acc_3 + ACC_W'(sum_2);
    end
    if (LAST != 0) begin : g_last
      always_ff @(posedge clk) if (on_3)
        logits[p*OUT_W+:OUT_W] <= (OUT_W'(acc_3) << 1) + params_3[p*PARAM_W+:PARAM_W];
    end else begin : g_bit
      assign fires[p] = acc_3 >= params_3[p*PARAM_W+:PARAM_W];
    end
  end
  if (LAST == 0) begin : g_result
    always_ff @(posedge clk) if (on_3) result[nf_3*PE+:PE] <= fires;
  end
  assign logits_valid = on_4;
  assign logits_last = nf_4 == NF - 1;
endmodule
"""


def write_baseline(graph: DataflowGraph, folding: Folding, directory: Path) -> Design:
    """Write the baseline of a binarised-input ±1 network with one threshold for all pixels.

    Args:
        graph: Thresholding, Flatten, then Mvaus with ±1 activations; the last one without thresholds.
        folding: PE and SIMD of each layer.
        directory: Where the source and the memory files go.
    """
    layers = list(graph.mvaus)
    ii_cycles = folding.ii_cycles(graph)
    logit_bytes = -(-layers[-1].out_type.width_bits // 8)
    threshold = next(n for n in graph.nodes if isinstance(n, Thresholding)).thresholds.steps[0, 0]
    parts = [
        _layer_instance(index, node, folding, ii_cycles, logit_bytes, len(layers), directory)
        for index, node in enumerate(layers)
    ]
    simd, pe = folding[layers[0].name].simd, folding[layers[-1].name].pe
    last = len(layers) - 1
    top = f"""
module bnn_top (
    input wire clk, input wire rst_n,
    input wire [{8 * simd - 1}:0] s_axis_tdata, input wire s_axis_tvalid, output wire s_axis_tready,
    output wire [{8 * pe * logit_bytes - 1}:0] m_axis_tdata, output wire m_axis_tvalid,
    output wire m_axis_tlast, input wire m_axis_tready
);
  logic [{simd - 1}:0] bits;
  for (genvar i = 0; i < {simd}; i++) begin : g_bit
    assign bits[i] = s_axis_tdata[i*8+:8] >= 8'd{threshold};
  end
{"".join(parts)}
  assign s_axis_tready = taking_0;
  assign m_axis_tdata = logits_{last};
  assign m_axis_tvalid = valid_{last};
  assign m_axis_tlast = last_{last};
endmodule
"""
    source = directory / "bnn_top.sv"
    source.write_text(_LAYER + top, encoding="utf-8")
    return Design(
        sources=(source,),
        input_beats=folding.synapse_fold(layers[0]),
        input_beat_bytes=simd,
        output_beats=folding.neuron_fold(layers[-1]),
        output_pe=pe,
        logit_bytes=logit_bytes,
        label_bytes=0,
    )


def _layer_instance(
    index: int, node: Mvau, folding: Folding, ii_cycles: int, logit_bytes: int, count: int, directory: Path
) -> str:
    layer = folding[node.name]
    acc_w, out_w = accumulator_width(node), 8 * logit_bytes
    if node.thresholds is None:
        params = hex_words(offset_words(node, layer.pe, with_bias=False), out_w)
    else:
        params = hex_words(threshold_words(node, node.thresholds, layer.pe), acc_w)
    weights = hex_words(weight_words(node, layer.pe, layer.simd), 1)
    (directory / f"weights_{index}.mem").write_text(weights, encoding="ascii")
    (directory / f"params_{index}.mem").write_text(params, encoding="ascii")
    start = -_STAGES * index % ii_cycles
    before = f"result_{index - 1}, done_{index - 1}" if index else f"{node.mw}'d0, 1'b1"
    vector, done = before.split(", ")
    return f"""
  logic taking_{index}, done_{index}, valid_{index}, last_{index};
  logic [{node.mh - 1}:0] result_{index};
  logic [{layer.pe * out_w - 1}:0] logits_{index};
  layer #(
      .MW({node.mw}), .MH({node.mh}), .SIMD({layer.simd}), .PE({layer.pe}), .II({ii_cycles}), .START({start}),
      .FIRST({int(index == 0)}), .LAST({int(index == count - 1)}), .ACC_W({acc_w}), .OUT_W({out_w}),
      .WEIGHTS("weights_{index}.mem"), .PARAMS("params_{index}.mem")
  ) u_{index} (
      .clk, .rst_n, .beat({"bits" if index == 0 else f"{layer.simd}'d0"}), .vector({vector}),
      .before_done({done}), .taking(taking_{index}), .result(result_{index}), .done(done_{index}),
      .logits(logits_{index}), .logits_valid(valid_{index}), .logits_last(last_{index})
  );
"""
