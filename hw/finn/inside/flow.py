"""FINN's classic steps, one by one, up to what the machine allows."""
# This runs in FINN's environment, whose packages the type checker does not see.
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import json
import shutil
import time
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path
from typing import Any

import bitsiege_rtl
import numpy as np
from finn.builder import build_dataflow_steps as steps
from finn.builder.build_dataflow_config import DataflowBuildConfig, DataflowOutputType, ShellFlowType
from finn.transformation.fpgadataflow.insert_dwc import InsertDWC
from finn.transformation.fpgadataflow.insert_fifo import InsertFIFO
from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers
from finn.util.verification import despecialize_model
from graphs import Stage, logits_of, logits_tensor, one_bit_padding, with_integer_input
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.general import GiveReadableTensorNames, GiveUniqueNodeNames
from start import missing_tools

_TO_HARDWARE = ("step_qonnx_to_finn", "step_tidy_up", "step_streamline", "step_convert_to_hw")
_TO_SOURCES = ("step_minimize_bit_width", "step_generate_estimate_reports", "step_hw_codegen")
_WITH_VENDOR = (
    "step_hw_ipgen",
    "step_set_fifo_depths",
    "step_create_stitched_ip",
    "step_measure_rtlsim_performance",
    "step_out_of_context_synthesis",
)
_WITH_BOARD = (
    "step_prepare_synthesis",
    "step_synthesize_bitfile",
    "step_make_driver",
    "step_deployment_package",
)
_LAYERS = ("MVAU_hls", "MVAU_rtl", "XnorMVAU_rtl")
_COUNTING = ("MVAU_hls", "XnorMVAU_rtl")
_MAX_DEPTH = 1024
# Attributes for the channels and the lanes of what stands between the layers.
_LANES = {
    "Thresholding_rtl": ("NumChannels", "PE"),
    "Thresholding_hls": ("NumChannels", "PE"),
    "Pool_hls": ("Channels", "PE"),
    "Pool_rtl": ("Channels", "PE"),
    "FMPadding_rtl": ("NumChannels", "SIMD"),
    "ConvolutionInputGenerator_rtl": ("IFMChannels", "SIMD"),
    "LabelSelect_hls": ("Labels", "PE"),
    "LabelSelect_rtl": ("Labels", "PE"),
}


class Flow:
    """One network on its way through FINN.

    Args:
        job: ``model``, ``work``, ``output``, ``images``, ``part``, ``board``, ``clock_ns`` and ``fps``;
            ``rtl``, which says to choose RTL of ours where FINN has only HLS; and ``folding``, a list of PE,
            SIMD and ram_style for the layers in order, or None with ``fps``.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.output = Path(job["output"])
        self.images = np.load(job["images"], allow_pickle=False)
        self.result: dict[str, Any] = {
            "version": version("finn-plus"),
            "steps": [],
            "graphs": [],
            "stopped": None,
        }
        outputs = [DataflowOutputType.ESTIMATE_REPORTS]
        if not missing_tools():
            outputs += [
                DataflowOutputType.STITCHED_IP,
                DataflowOutputType.RTLSIM_PERFORMANCE,
                DataflowOutputType.OOC_SYNTH,
            ]
            if job["board"]:
                outputs += [
                    DataflowOutputType.BITFILE,
                    DataflowOutputType.PYNQ_DRIVER,
                    DataflowOutputType.DEPLOYMENT_PACKAGE,
                ]
        self.config = DataflowBuildConfig(
            output_dir=str(self.output),
            synth_clk_period_ns=job["clock_ns"],
            fpga_part=job["part"],
            board=job["board"] or None,
            shell_flow_type=ShellFlowType.VIVADO_ZYNQ if job["board"] else None,
            target_fps=job["fps"],
            generate_outputs=outputs,
            standalone_thresholds=False,
            save_intermediate_models=True,
        )

    def run(self) -> dict[str, Any]:
        """Take all the steps; returns what is to be known about them."""
        model = with_integer_input(ModelWrapper(self.job["model"]))
        for name in _TO_HARDWARE:
            model = self._step(name, model)
            # FINN's clean-up forgets what the input is.
            model.set_tensor_datatype(model.get_first_global_in(), DataType["UINT8"])
            if name == "step_streamline":
                self._execute("streamlined", Stage(model))
        self._execute("hardware", Stage(model))
        self.result["one_bit_padding"] = one_bit_padding(model)
        parent = self._partition(model)
        model = ModelWrapper(str(self.output / "dataflow.onnx"))
        if self.job["rtl"]:
            bitsiege_rtl.register()
            bitsiege_rtl.offer(model)
        model = self._step("step_specialize_layers", model)
        model = self._fold(model)
        if self.job["rtl"]:
            model = self._connect(model)
        for name in _TO_SOURCES:
            model = self._step(name, model)
        despecialised = despecialize_model(model)
        despecialised.save(str(self.output / "despecialised.onnx"))
        self._execute("despecialised", Stage(despecialised, parent))
        self._collect(model)
        if self.job["rtl"]:
            self._describe(model)
        self._vendor(model)
        return self.result

    def _step(self, name: str, model: ModelWrapper) -> ModelWrapper:
        start = time.monotonic()
        model = getattr(steps, name)(model, self.config)
        model.save(str(self.output / "models" / f"{name}.onnx"))
        self.result["steps"].append({"name": name, "seconds": round(time.monotonic() - start, 2)})
        return model

    def _execute(self, name: str, stage: Stage) -> None:
        logits, labels = logits_of(stage, self.images)
        np.savez(self.output / "logits" / f"{name}.npz", logits=logits, labels=labels)
        operators = [node.op_type for node in stage.model.graph.node]
        self.result["graphs"].append({"name": name, "operators": operators})

    def _partition(self, model: ModelWrapper) -> ModelWrapper:
        """Split what becomes hardware from what stands around it."""
        inner = self._step("step_create_dataflow_partition", model)
        inner.save(str(self.output / "dataflow.onnx"))
        models = self.config.get_intermediate_models_directory()
        parent = ModelWrapper(str(models / "dataflow_parent.onnx"))
        parent.save(str(self.output / "parent.onnx"))
        return parent

    def _fold(self, model: ModelWrapper) -> ModelWrapper:
        if self.job["folding"] is None:
            return self._step("step_target_fps_parallelization", model)
        layers = [node for node in model.graph.node if node.op_type in _LAYERS]
        if len(layers) != len(self.job["folding"]):
            raise ValueError(f"FINN makes {len(layers)} MVAUs of {len(self.job['folding'])} layers")
        for node, factors in zip(layers, self.job["folding"], strict=True):
            instance = getCustomOp(node)
            for name, value in factors.items():
                instance.set_nodeattr(name, value)
        self._fold_others(model)
        return self._step("step_apply_folding_config", model)

    def _fold_others(self, model: ModelWrapper) -> None:
        """Give what stands between the layers as many lanes as its neighbour has, as our RTL does."""
        nodes = list(model.graph.node)
        lanes = 1
        for index, node in enumerate(nodes):
            instance: Any = getCustomOp(node)
            following: Any = next((getCustomOp(n) for n in nodes[index + 1 :] if n.op_type in _LAYERS), None)
            if node.op_type in _LAYERS:
                lanes = instance.get_nodeattr("PE")
            elif node.op_type in _LANES:
                channels_name, lanes_name = _LANES[node.op_type]
                channels = instance.get_nodeattr(channels_name)
                wanted = lanes
                if following is not None and (index == 0 or node.op_type == "ConvolutionInputGenerator_rtl"):
                    wanted = lanes = following.get_nodeattr("SIMD")
                instance.set_nodeattr(lanes_name, _divisor(channels, wanted))

    def _connect(self, model: ModelWrapper) -> ModelWrapper:
        """Put width converters and FIFOs between the nodes, as FINN does before it joins them.

        FINN finds depths with the vendor's simulator. Here a layer's FIFO holds a vector, so that the next
        one comes in while the layer works.
        """
        for node in model.graph.node:
            instance: Any = getCustomOp(node)
            if node.op_type in _LAYERS:
                beats = instance.get_nodeattr("MW") // instance.get_nodeattr("SIMD")
                instance.set_nodeattr("inFIFODepths", [max(2, min(beats, _MAX_DEPTH))])
        for transformation in (InsertDWC(), InsertFIFO(create_shallow_fifos=True)):
            model = model.transform(transformation)
        model = model.transform(SpecializeLayers(self.job["part"]))
        model = model.transform(GiveUniqueNodeNames())
        return model.transform(GiveReadableTensorNames())

    def _describe(self, model: ModelWrapper) -> None:
        """Say how to join the modules, and keep a graph whose nodes of ours are in our domain."""
        self.result["hls"] = [node.name for node in model.graph.node if node.domain.endswith(".hls")]
        self.result["stitch"] = []
        for node in [] if self.result["hls"] else model.graph.node:
            instance: Any = getCustomOp(node)
            folded = instance.get_folded_input_shape(0)
            entry = {
                "name": node.name,
                "op_type": node.op_type,
                "module": instance.get_nodeattr("gen_top_module") or instance.get_verilog_top_module_name(),
                "files": [str(file) for file in instance.get_rtl_file_list(abspath=True)],
                "in_bits": instance.get_instream_width_padded(0),
                "out_bits": instance.get_outstream_width_padded(0),
                "beats": int(np.prod(folded[:-1])),
                "lanes": int(folded[-1]),
                "cycles": int(instance.get_exp_cycles()),
            }
            if node.op_type == "StreamingFIFO_rtl":
                entry["depth"] = int(instance.get_nodeattr("depth"))
            if node.op_type == "LabelSelect_rtl":
                entry["logit_bytes"] = instance.logit_bytes()
            self.result["stitch"].append(entry)
        _, scale, offset = logits_tensor(despecialize_model(model))
        self.result["logits"] = {"scale": scale, "offset": offset}
        self._copy_sources()
        adopted = deepcopy(model)
        bitsiege_rtl.adopt(adopted)
        adopted.save(str(self.output / "all_rtl.onnx"))

    def _copy_sources(self) -> None:
        """Copy the modules that are joined, FINN's and ours, beside the memories that they read."""
        folder = self.output / "stitched"
        folder.mkdir()
        for entry in self.result["stitch"]:
            for file in entry["files"]:
                shutil.copy(file, folder)
            entry["files"] = [Path(file).name for file in entry["files"]]
        for pattern in ("*.mem", "*.dat"):
            for memory in (self.output / "generated").rglob(pattern):
                shutil.copy(memory, folder)

    def _collect(self, model: ModelWrapper) -> None:
        """List the nodes with what FINN estimates, and copy reports and generated sources."""
        reports = self.config.get_report_directory()
        cycles = _read(reports / "estimate_layer_cycles.json")
        resources = _read(reports / "estimate_layer_resources.json")
        self.result["performance"] = _read(reports / "estimate_network_performance.json")
        self.result["resources"] = resources.get("total", {})
        self.result["nodes"] = []
        for node in model.graph.node:
            instance: Any = getCustomOp(node)
            known = instance.get_nodeattr_types()
            entry = {
                "name": node.name,
                "op_type": node.op_type,
                "cycles": cycles.get(node.name),
                # FINN has no estimate for modules that are not its own.
                "resources": {} if node.op_type in bitsiege_rtl.custom_op else resources.get(node.name, {}),
            }
            entry |= {
                name: instance.get_nodeattr(name) for name in ("PE", "SIMD", "ram_style") if name in known
            }
            if node.op_type in _COUNTING and instance.get_nodeattr("binaryXnorMode"):
                dtype = DataType[instance.get_nodeattr("accDataType")]
                entry |= {"accumulator": dtype.name, "holds": int(dtype.max())}
                entry["counts"] = instance.get_nodeattr("MW")
            self.result["nodes"].append(entry)
            folder = instance.get_nodeattr("code_gen_dir_ipgen")
            if folder and Path(folder).is_dir():
                shutil.copytree(folder, self.output / "generated" / node.name)

    def _vendor(self, model: ModelWrapper) -> None:
        """Go on with the vendor's tools, where there are any."""
        missing = missing_tools()
        if missing:
            self.result["stopped"] = {
                "step": _WITH_VENDOR[0],
                "reason": f"not on PATH: {', '.join(missing)}; FINN's 1-bit layers need them",
            }
            return
        for name in (*_WITH_VENDOR, *(_WITH_BOARD if self.job["board"] else ())):
            model = self._step(name, model)


def _divisor(channels: int, most: int) -> int:
    """Return the largest divisor of ``channels`` that is at most ``most``."""
    return next(value for value in range(min(channels, most), 0, -1) if channels % value == 0)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
