"""``bitsiege masking``: is a network robust, or are its gradients masked?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitsiege.cli.options import BuildDir, CacheDir, DrawSeed, Json

if TYPE_CHECKING:
    from rich.table import Table

    from attacks.masking import Verdict


def masking(
    build: BuildDir,
    images: Annotated[
        Path, typer.Option("--images", metavar="X.npy", help="uint8 images (N, H, W, C).", show_default=False)
    ],
    labels: Annotated[
        Path, typer.Option("--labels", metavar="Y.npy", help="Their classes (N,).", show_default=False)
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="MASKING.json", help="What to write.", show_default=False),
    ],
    eps: Annotated[
        float, typer.Option("--eps", metavar="E", min=0, max=1, help="Largest change of a pixel in [0, 1].")
    ] = 0.1,
    target: Annotated[
        str, typer.Option("--target", metavar="NAME", help="Who judges, and answers black-box attacks.")
    ] = "emulator",
    steps: Annotated[int, typer.Option("--steps", metavar="N", min=1, help="Steps of PGD.")] = 40,
    queries: Annotated[
        int, typer.Option("--queries", metavar="N", min=2, help="Most queries for an image.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything random.")] = 0,
    draw_seed: DrawSeed = 0,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> int:
    """Run attacks that ought to be ordered, and say which signs of gradient masking they give.

    Queries that beat gradients, noise that does, one step that beats many, an unbounded attack that leaves
    something, gradients of exactly 0: each is a sign that a weaker attack's accuracy is no robustness.

    [bold]Example[/bold]: bitsiege masking build --images x.npy --labels y.npy --eps 0.1 -o masking.json
    """
    from attacks.masking_runs import Effort, examine
    from bitsiege.arrays import load_images, load_labels
    from bitsiege.cli.console import progress, say, show, show_json
    from bitsiege.crafting import differentiable
    from bitsiege.findings import finding_header
    from bitsiege.outputs import check_output
    from bitsiege.pipeline.store import write_json
    from bitsiege.targets import close_targets, open_any_target
    from hw.build import load_build

    check_output(output, images, labels)
    loaded = load_build(build)
    pixels = load_images(images, loaded.graph.input_shape)
    classes = load_labels(labels, count=len(pixels), classes=loaded.graph.classes)
    module, origin = differentiable(loaded)
    judge = open_any_target(target, loaded, cache_dir=cache_dir, draw_seed=draw_seed)
    try:
        with progress() as listener, listener.task("masking", total=1) as task:
            verdict = examine(
                module,
                judge,
                pixels,
                classes,
                eps=eps,
                effort=Effort(steps=steps, max_queries=queries, seed=seed),
                progress=lambda what, done, total: task.update(done, total=total, note=what),
            )
    finally:
        close_targets([judge])
    found = {
        **finding_header("masking", loaded),
        "gradients": origin,
        "target": target,
        "seed": seed,
        "draw_seed": draw_seed,
        **verdict.to_json(),
    }
    write_json(output, found)
    if json:
        show_json({**found, "output": str(output)})
    else:
        show(_table(verdict))
        say(f"{output}: {verdict.sentence}")
    return 0


def _table(verdict: Verdict) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD, title=f"{verdict.images:,} images, eps {verdict.eps:g}", title_justify="left"
    )
    for name in ("check", "sign", "evidence"):
        table.add_column(name)
    words = {None: "–", True: "masked", False: "no"}
    for check in verdict.checks:
        table.add_row(check.name, words[check.masked], check.evidence)
    return table
