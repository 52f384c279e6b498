"""FINN's classic steps, one by one, up to what the machine allows."""
# This runs in FINN's environment, whose packages the type checker does not see.
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import json
import shutil
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from finn.builder import build_dataflow_steps as steps
from finn.builder.build_dataflow_config import DataflowBuildConfig, DataflowOutputType, ShellFlowType
from finn.util.verification import despecialize_model
from graphs import Stage, logits_of, one_bit_padding, with_integer_input
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
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
_LAYERS = ("MVAU_hls", "MVAU_rtl")
# Attributes for the channels and the lanes of what stands between the layers.
_LANES = {
    "Thresholding_rtl": ("NumChannels", "PE"),
    "Thresholding_hls": ("NumChannels", "PE"),
    "Pool_hls": ("Channels", "PE"),
    "FMPadding_rtl": ("NumChannels", "SIMD"),
    "ConvolutionInputGenerator_rtl": ("IFMChannels", "SIMD"),
    "LabelSelect_hls": ("Labels", "PE"),
}


class Flow:
    """One network on its way through FINN.

    Args:
        job: ``model``, ``work``, ``output``, ``images``, ``part``, ``board``, ``clock_ns``, ``fps`` and
            ``folding``, a list of PE, SIMD and ram_style for the layers in order, or None with ``fps``.
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
        model = self._step("step_specialize_layers", ModelWrapper(str(self.output / "dataflow.onnx")))
        model = self._fold(model)
        for name in _TO_SOURCES:
            model = self._step(name, model)
        despecialised = despecialize_model(model)
        despecialised.save(str(self.output / "despecialised.onnx"))
        self._execute("despecialised", Stage(despecialised, parent))
        self._collect(model)
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
                "resources": resources.get(node.name, {}),
            }
            entry |= {
                name: instance.get_nodeattr(name) for name in ("PE", "SIMD", "ram_style") if name in known
            }
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
