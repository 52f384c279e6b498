"""``bitsiege attack``: adversarial images for a compiled network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bitsiege.cli.options import BuildDir, Json


def attack(
    build: BuildDir,
    attack: Annotated[str, typer.Option("--attack", metavar="NAME", help="fgsm or pgd.", show_default=False)],
    images: Annotated[
        Path, typer.Option("--images", metavar="X.npy", help="uint8 images (N, H, W, C).", show_default=False)
    ],
    labels: Annotated[
        Path, typer.Option("--labels", metavar="Y.npy", help="Their classes (N,).", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="ATTACK.npz", help="What to write.", show_default=False)
    ],
    eps: Annotated[
        float, typer.Option("--eps", metavar="E", help="Largest change of a pixel in [0, 1].")
    ] = 0.1,
    steps: Annotated[int | None, typer.Option("--steps", metavar="N", help="Steps of PGD.")] = None,
    step_size: Annotated[
        float | None, typer.Option("--step-size", metavar="S", help="Change of a pixel in one step of PGD.")
    ] = None,
    restarts: Annotated[
        int | None, typer.Option("--restarts", metavar="N", help="Random starts of PGD.")
    ] = None,
    goal: Annotated[
        str, typer.Option("--goal", help="untargeted, or targeted: next (the runner-up) or random.")
    ] = "untargeted",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything random.")] = 0,
    json: Json = False,
) -> int:
    """Craft adversarial images on the 8-bit grid, inside the epsilon ball.

    The gradients come from the checkpoint in the build, or from a differentiable twin of its graph where it
    has none. ATTACK.npz holds originals, adversarial images, labels, all parameters and the network's hash.

    [bold]Example[/bold]: bitsiege attack build --attack pgd --images x.npy --labels y.npy -o attack.npz
    """
    from bitsiege.arrays import load_images, load_labels
    from bitsiege.cli.console import progress, say, show_json
    from bitsiege.crafting import craft
    from bitsiege.outputs import check_output
    from hw.build import load_build

    check_output(output, images, labels)
    loaded = load_build(build)
    pixels = load_images(images, loaded.graph.input_shape)
    classes = load_labels(labels, count=len(pixels), classes=loaded.graph.classes)
    chosen: dict[str, Any] = {"eps": eps, "goal": goal, "seed": seed}
    optional = {"steps": steps, "step_size": step_size, "restarts": restarts}
    chosen |= {key: value for key, value in optional.items() if value is not None}
    with progress() as listener:
        made = craft(loaded, attack, chosen, pixels, classes, output, progress=listener)
    if json:
        show_json({**made, "output": str(output)})
    else:
        what = "fools" if made["goal"] == "untargeted" else "reaches the target class with"
        of = f"{made['succeeded']:,} of {made['images']:,} images"
        say(f"{output}: {attack} at eps {eps:g} {what} {of}")
    return 0
