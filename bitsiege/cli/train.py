"""``bitsiege train``: only the first step of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bitsiege.cli.options import DataDir, Json


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="What to train.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Run directory; DIR/train/checkpoint.safetensors.",
            show_default=False,
        ),
    ],
    force: Annotated[bool, typer.Option("--force", help="Train again.")] = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> int:
    """Train a network; an interrupted training goes on where it stopped.

    `bitsiege run CONFIG.toml --out DIR` with the same DIR goes on with the other steps.

    [bold]Example[/bold]: bitsiege train configs/demo.toml --out runs/demo
    """
    from bitsiege.cli.command import invocation
    from bitsiege.cli.console import progress, say, show_json
    from bitsiege.config import load_config
    from bitsiege.pipeline.job import run_training
    from bitsiege.pipeline.steps import CHECKPOINT, TRAINING, Environment
    from bitsiege.pipeline.store import read_json

    chosen = load_config(config)
    environment = Environment(data_dir=data_dir, command=invocation.text)
    with progress() as listener:
        result = run_training(chosen, out, environment=environment, progress=listener, force=force)
    checkpoint = out / result.name / CHECKPOINT
    record = read_json(out / result.name / TRAINING)
    if json:
        show_json(
            {"checkpoint": str(checkpoint), "reused": result.reused, "seconds": result.seconds, **record}
        )
    else:
        say(f"{checkpoint}: {100 * record['test_accuracy']:.2f} % of {record['test_images']:,} test images")
    return 0
