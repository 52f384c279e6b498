"""From a Brevitas module to one QONNX file, by either of Brevitas' exporters."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import tempfile
import warnings
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from export.errors import InputError
from export.files import atomic_file
from export.onnxfile import LOGIT_EXPONENT, load_proto

if TYPE_CHECKING:
    from torch import nn

Exporter = Literal["torchscript", "dynamo"]

_TORCHSCRIPT_OPSET = 13


def export_qonnx(
    model: nn.Module,
    path: Path,
    *,
    input_shape: tuple[int, int, int],
    exporter: Exporter = "torchscript",
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Export a Brevitas module as QONNX, weights inside the file, batch size 1.

    Args:
        model: Takes floats in [0, 1], ``(N, C, H, W)``; exported in eval mode and left in its own mode.
        path: The ONNX file to write; nothing half-written stays.
        input_shape: ``(height, width, channels)`` of the images.
        exporter: ``torchscript`` takes a fraction of a second and writes MatMul and Flatten; ``dynamo``,
            torch's newer one, takes seconds and writes Gemm and Reshape. Both lower to one graph.
        metadata: Written to the file's ``metadata_props``, with the model's own ``logit_exponent`` (integer
            logits are its float logits times ``2**logit_exponent``) where it has one.

    Raises:
        InputError: The model can't be exported, or the file can't be written.
        ValueError: No such exporter.
    """
    if exporter not in get_args(Exporter):
        raise ValueError(f"exporter must be one of {get_args(Exporter)}, not {exporter!r}")
    with tempfile.TemporaryDirectory(prefix="qonnx-") as folder:
        raw = Path(folder) / "model.onnx"
        training = model.training
        try:
            _run(model.eval(), raw, input_shape, exporter)
        finally:
            model.train(training)
        proto = load_proto(raw)
    del proto.metadata_props[:]
    entries = dict(metadata or {})
    if hasattr(model, "logit_exponent"):
        entries[LOGIT_EXPONENT] = str(model.logit_exponent)
    for key, value in sorted(entries.items()):
        proto.metadata_props.add(key=key, value=value)
    data = proto.SerializeToString(deterministic=True)
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def _run(model: nn.Module, path: Path, input_shape: tuple[int, int, int], exporter: Exporter) -> None:
    with _quiet() as said:
        # Brevitas and torch take seconds to import, and lowering needs neither.
        import torch

        brevitas_export: Any = importlib.import_module("brevitas.export").export_qonnx

        height, width, channels = input_shape
        options: dict[str, Any] = {"dynamo": True, "verbose": False}
        if exporter == "torchscript":
            options = {"dynamo": False, "opset_version": _TORCHSCRIPT_OPSET}
        example = torch.zeros(1, channels, height, width)
        try:
            with torch.no_grad():
                brevitas_export(model, example, export_path=str(path), **options)
        except (RuntimeError, TypeError, ValueError, AttributeError, NotImplementedError) as error:
            raise InputError(
                f"Brevitas can't export the model: {str(error).splitlines()[0] if str(error) else error!r}",
                hint="check that the model runs on an image of the shape given",
                output=said.getvalue()[-2000:],
            ) from error


@contextlib.contextmanager
def _quiet() -> Generator[io.StringIO]:
    """Keep the exporters' progress, warnings and log records off the terminal."""
    said = io.StringIO()
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield said
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
