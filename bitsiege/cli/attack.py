"""``bitsiege attack``: adversarial images for a compiled network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bitsiege.cli.options import BuildDir, CacheDir, DrawSeed, Json

DEFAULT_EPS = 0.1


def attack(
    build: BuildDir,
    attack: Annotated[
        str, typer.Option("--attack", metavar="NAME", help="Such as pgd; see --help.", show_default=False)
    ],
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
        float | None,
        typer.Option(
            "--eps",
            metavar="E",
            help="Budget in the norm's unit; 0.1, or none for attacks that look for the smallest change.",
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", metavar="N", help="Steps of one run.")] = None,
    step_size: Annotated[
        float | None, typer.Option("--step-size", metavar="S", help="Change of a pixel in one step.")
    ] = None,
    restarts: Annotated[int | None, typer.Option("--restarts", metavar="N", help="Random starts.")] = None,
    norm: Annotated[
        str | None, typer.Option("--norm", help="linf, l2 or l0, where the attack has a choice.")
    ] = None,
    goal: Annotated[
        str, typer.Option("--goal", help="untargeted, or targeted: next (the runner-up) or random.")
    ] = "untargeted",
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="KEY=VALUE", help="Any other parameter; repeat it."),
    ] = None,
    oracle: Annotated[
        str, typer.Option("--oracle", metavar="TARGET", help="Who answers a black-box attack.")
    ] = "emulator",
    gradients: Annotated[
        str, typer.Option("--gradients", help="Of the twin of the graph, or the checkpoint's own.")
    ] = "twin",
    surrogate: Annotated[
        list[Path] | None,
        typer.Option(
            "--surrogate",
            metavar="FILE",
            help="Differentiate this checkpoint or build instead, and let the oracle judge; several make an "
            "ensemble.",
        ),
    ] = None,
    first: Annotated[
        int, typer.Option("--first", metavar="N", min=0, help="Index of the first image in its data set.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything random.")] = 0,
    draw_seed: DrawSeed = 0,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> int:
    """Craft adversarial images on the 8-bit grid, inside the epsilon ball.

    Gradients come from the twin: the build's integer graph, differentiable, with gates as its checkpoint's
    normalisation says. A black-box attack asks the oracle. With --surrogate the images are made on other
    networks, and BUILD only judges them. ATTACK.npz holds originals, adversarial images,
    labels, all parameters and the network's hash. An unknown name or parameter is answered with those that
    are known.

    [bold]Example[/bold]: bitsiege attack build --attack pgd --images x.npy --labels y.npy -o attack.npz
    """
    from attacks.catalog import minimises
    from bitsiege.arrays import load_images, load_labels
    from bitsiege.cli.console import progress, say, show_json
    from bitsiege.crafting import craft, parse_gradients, parse_parameters
    from bitsiege.outputs import check_output
    from bitsiege.surrogates import craft_by_surrogates
    from hw.build import load_build

    check_output(output, images, labels, *(path for path in surrogate or [] if path.is_file()))
    chosen = parse_parameters(parameter or [])
    budget = DEFAULT_EPS if eps is None and not minimises(attack) else eps
    optional = {"eps": budget, "steps": steps, "step_size": step_size, "restarts": restarts, "norm": norm}
    chosen |= {"goal": goal, "seed": seed}
    chosen |= {key: value for key, value in optional.items() if value is not None}
    loaded = load_build(build)
    pixels = load_images(images, loaded.graph.input_shape)
    classes = load_labels(labels, count=len(pixels), classes=loaded.graph.classes)
    shared: dict[str, Any] = {
        "oracle": oracle,
        "cache_dir": cache_dir,
        "draw_seed": draw_seed,
        "first_index": first,
    }
    work = (loaded, attack, chosen, pixels, classes, output)
    with progress() as listener:
        if surrogate:
            made = craft_by_surrogates(*work, surrogates=surrogate, progress=listener, **shared)
        else:
            made = craft(*work, progress=listener, gradients=parse_gradients(gradients), **shared)
    if json:
        show_json({**made, "output": str(output)})
    else:
        what = "fools" if made["goal"] == "untargeted" else "reaches the target class with"
        of = f"{made['succeeded']:,} of {made['images']:,} images"
        asked = "" if made["queries"] is None else f", {made['queries']:,.0f} queries an image"
        bound = "" if budget is None else f" at eps {made['eps']:g}"
        say(f"{output}: {attack}{bound} {what} {of}{asked}")
    return 0
