"""A network built with FINN: compared with our integers, and beside our own hardware at the same folding."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from export.errors import DivergenceError, InputError, ToolError
from export.files import atomic_directory
from export.graph import DataflowGraph, IntArray
from hw.build import Build
from hw.finn.checks import GraphCheck, check_stage, explain, images_counting_past
from hw.finn.flow import Choice, FinnNode, FlowResult, StageResult, run_flow
from hw.finn.stitch import REPLACED, SOURCES, Module, Stitched, stitch
from hw.folding import Folding
from hw.folding.finn import read_finn_file, write_finn_folding
from hw.reference import ReferenceTarget
from hw.resources import load_model
from hw.rtlgen import plan_rtl
from hw.target import ImageArray
from hw.timing import predict
from hw.verilator import StreamResult

FORMAT_VERSION = 1
REPORT = "FINN.json"
STITCHED = "stitched"
_SOLVED = "report/auto_folding_config.json"
# Moved models would be loaded from where they were; the job's paths are of this machine.
_LEFT_OUT = ("work", "intermediate_models", "dataflow.onnx", "result.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinnReport:
    """What came of it.

    Attributes:
        document: What ``FINN.json`` holds.
        checks: FINN's graphs against our logits.
        folding: That both have.
    """

    document: Mapping[str, Any]
    checks: Sequence[GraphCheck]
    folding: Folding

    def check(self) -> None:
        """Raise unless every graph of FINN has our logits and labels.

        Raises:
            DivergenceError: Naming the first that hasn't, and why if that is known.
        """
        for check in self.checks:
            if not check.equal:
                raise DivergenceError(
                    f"FINN's {check.graph} graph differs from the network on {check.wrong_images} of "
                    f"{check.count} {check.images} images, {check.wrong_labels} of them in the label",
                    hint=check.reason or "its graphs are kept in the output; the reason is not known",
                    graph=check.graph,
                )


def build_with_finn(
    python: Path,
    build: Build,
    directory: Path,
    *,
    choice: Choice,
    images: Mapping[str, ImageArray],
    cache_dir: Path | None = None,
) -> FinnReport:
    """Build a network with FINN, compare it with ours, and write everything.

    Args:
        python: Of FINN's environment.
        build: The compiled network.
        directory: Written as a whole: ``FINN.json``, ``folding.json``, graphs, reports, generated sources and
            FINN's own messages.
        choice: The folding, or a frame rate for FINN's solver.
        images: uint8 ``(N, H, W, C)`` by the name of the set.
        cache_dir: Where native code is kept.

    Raises:
        InputError: The build lacks what FINN needs, or ``directory`` holds something else.
        ToolError: FINN failed; or its solver's folding can't be read back.
    """
    _refuse_foreign(directory)
    expected = {name: ReferenceTarget(build.graph).infer(pixels).logits for name, pixels in images.items()}
    with atomic_directory(directory) as temporary:
        result = run_flow(python, build, choice, np.concatenate(list(images.values())), temporary)
        folding = choice.folding or _read_back(temporary / _SOLVED, build.graph)
        if result.joined is not None:
            joined = stitch(temporary / SOURCES, result.joined)
            stream = joined.simulate(np.concatenate(list(images.values())), cache_dir=cache_dir)
            result = replace(result, stages=(*result.stages, _simulated(stream)))
        else:
            joined = stream = None
        checks = check_stages(result, build.graph, images, expected)
        document = {
            "format": "bitsiege-finn",
            "version": FORMAT_VERSION,
            "graph_hash": build.graph_hash,
            "clock_mhz": build.clock_mhz,
            "finn": result.version,
            "folding_by": "given" if choice.folding is not None else "FINN's solver",
            "steps": list(result.steps),
            "stopped": result.stopped,
            "checks": [check.to_json() for check in checks],
            "network": _network(build.graph, folding, result, cache_dir),
            "layers": _layers(build.graph, folding, result),
            "stitched": None if joined is None or stream is None else _stitched(joined, stream),
            "warnings": _warnings(build.graph, result, np.concatenate(list(images.values()))),
            "other_nodes": [_finn_side(node) for node in result.nodes if not node.is_layer],
        }
        write_finn_folding(folding, build.graph, temporary / "folding.json")
        text = json.dumps(document, indent=2, allow_nan=False) + "\n"
        (temporary / REPORT).write_text(text, encoding="utf-8")
        for name in _LEFT_OUT:
            path = temporary / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return FinnReport(document=document, checks=checks, folding=folding)


def check_stages(
    result: FlowResult,
    graph: DataflowGraph,
    images: Mapping[str, ImageArray],
    expected: Mapping[str, IntArray],
) -> list[GraphCheck]:
    """Compare each of FINN's graphs on each set; the flow has computed the sets one after the other."""
    padding = result.one_bit_padding
    checks: list[GraphCheck] = []
    start = 0
    for name, pixels in images.items():
        known = explain(graph, pixels, padding)
        rows = slice(start, start + len(pixels))
        start += len(pixels)
        for stage in result.stages:
            part = _part(stage, rows)
            checks.append(check_stage(part, expected[name], name, known))
    return checks


def _part(stage: StageResult, rows: slice) -> StageResult:
    return replace(stage, logits=stage.logits[rows], labels=stage.labels[rows])


def _read_back(path: Path, graph: DataflowGraph) -> Folding:
    try:
        return read_finn_file(path, graph).folding
    except InputError as error:
        raise ToolError(
            f"the folding of FINN's solver is none of ours: {error.message}", hint=error.hint
        ) from error


def _warnings(graph: DataflowGraph, result: FlowResult, images: ImageArray) -> list[str]:
    """Name the accumulators that are too narrow, and how many of the images show it."""
    sentences: list[str] = []
    for index, node in enumerate(result.layers):
        if node.is_narrow:
            reached = images_counting_past(graph, images, index, node.holds)
            sentences.append(
                f"{node.name} counts to {node.counts} in an accumulator of type {node.accumulator}, which "
                f"holds {node.holds}: {reached} of these {len(images)} images go past it, where its HLS "
                "would wrap and its execution in Python does not"
            )
    return sentences


def _simulated(stream: StreamResult) -> StageResult:
    """Return the simulation as a stage; that its labels are those of its logits it has checked itself."""
    logits = stream.logits
    return StageResult(
        name=STITCHED,
        operators=(),
        logits=logits.astype(np.float64),
        labels=logits.argmax(axis=1).astype(np.int64),
    )


def _stitched(joined: Stitched, stream: StreamResult) -> dict[str, Any]:
    ends = stream.last_out_cycle
    half = ends[len(ends) // 2 :]
    return {
        "modules": {module.name: _origin(module) for module in joined.modules},
        "replaced": sorted({REPLACED[m.op_type] for m in joined.modules if m.is_replaced}),
        "first_latency_cycles": int(stream.cycles[0]),
        "ii_cycles": float(half[-1] - half[0]) / (len(half) - 1) if len(half) > 1 else None,
    }


def _origin(module: Module) -> str:
    if module.is_replaced:
        return "ours in place of FINN's"
    return "ours" if module.is_ours else "FINN's"


def _network(
    graph: DataflowGraph, folding: Folding, result: FlowResult, cache_dir: Path | None
) -> dict[str, Any]:
    """Both networks as wholes."""
    timing = predict(graph, folding, cache_dir=cache_dir)
    design = plan_rtl(graph, folding, with_contents=False)
    model = load_model()
    known = {instance.module for instance in design.instances} <= set(model.modules)
    estimate = model.estimate(design).to_json() if known else None
    return {
        "rtl": {
            "ii_cycles": timing.ii_cycles,
            "latency_cycles": timing.latency_cycles,
            "lut": None if estimate is None else estimate["lut"]["estimate"],
            "bram18": None if estimate is None else 2 * estimate["bram36"]["estimate"],
            "estimate": estimate,
        },
        "finn": {
            "ii_cycles": result.performance.get("max_cycles"),
            "latency_cycles": result.performance.get("critical_path_cycles"),
            # FINN estimates no modules but its own.
            "lut": None if result.joined is not None else result.resources.get("LUT"),
            "bram18": None if result.joined is not None else result.resources.get("BRAM_18K"),
            "slowest": result.performance.get("max_cycles_node_name"),
        },
    }


def _layers(graph: DataflowGraph, folding: Folding, result: FlowResult) -> list[dict[str, Any]]:
    """Each layer of ours beside FINN's; the i-th MVAU of one is the i-th of the other."""
    cycles = folding.layer_cycles(graph)
    model = load_model()
    instances = plan_rtl(graph, folding, with_contents=False).instances
    rows: list[dict[str, Any]] = []
    for node, other in zip(graph.mvaus, result.layers, strict=True):
        mine = [i for i in instances if i.node == node.name]
        known = {instance.module for instance in mine} <= set(model.modules)
        rows.append(
            {
                "layer": node.name,
                "pe": folding[node.name].pe,
                "simd": folding[node.name].simd,
                "ram_style": folding[node.name].ram_style,
                "rtl": {
                    "cycles": cycles[node.name],
                    "lut": round(model.luts(mine), 1) if known else None,
                    "bram18": round(2 * model.bram36(mine), 1) if known else None,
                },
                "finn": _finn_side(other),
            }
        )
    return rows


def _finn_side(node: FinnNode) -> dict[str, Any]:
    return {
        "node": node.name,
        "cycles": node.cycles,
        "lut": node.resources.get("LUT"),
        "bram18": node.resources.get("BRAM_18K"),
        **{name.lower(): value for name, value in node.factors.items()},
    }


def _refuse_foreign(path: Path) -> None:
    """Refuse to replace a directory that this did not write: all of it would be deleted."""
    if path.is_dir() and any(path.iterdir()) and not (path / REPORT).is_file():
        raise InputError(
            f"{path} holds something else than FINN's output, and would be replaced",
            hint="name a new or empty directory",
            path=str(path),
        )
