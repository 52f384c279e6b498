"""``bitsiege export``: a trained network as QONNX."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bitsiege.cli.options import Json


class Exporter(StrEnum):
    """Brevitas' two ways to write the file."""

    torchscript = "torchscript"
    dynamo = "dynamo"


def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            help="Checkpoint from `bitsiege train`, or the name of a shipped network such as tfc-mnist.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="MODEL.onnx", help="What to write.", show_default=False)
    ],
    exporter: Annotated[
        Exporter, typer.Option("--exporter", help="Which of Brevitas' exporters writes it.")
    ] = Exporter.torchscript,
    json: Json = False,
) -> int:
    """Export a trained network to QONNX.

    [bold]Example[/bold]: bitsiege export train/checkpoint.safetensors -o model.onnx
    """
    from bitsiege.building import export_checkpoint, find_checkpoint
    from bitsiege.cli.console import say, show_json
    from bitsiege.outputs import check_output
    from bitsiege.pipeline.digests import file_digest

    path = find_checkpoint(checkpoint)
    check_output(output, path)
    export_checkpoint(path, output, exporter=exporter.value)
    if json:
        show_json({"checkpoint": str(path), "output": str(output), "sha256": file_digest(output)})
    else:
        say(f"{output}: written from {path}")
    return 0
