"""``bitsiege faults``: what flipped and stuck bits of the hardware do to a compiled network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitsiege.cli.options import BuildDir, CacheDir, Json

if TYPE_CHECKING:
    from rich.table import Table


def faults(
    build: BuildDir,
    images: Annotated[
        Path, typer.Option("--images", metavar="X.npy", help="uint8 images (N, H, W, C).", show_default=False)
    ],
    labels: Annotated[
        Path, typer.Option("--labels", metavar="Y.npy", help="Their classes (N,).", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FAULTS.json", help="What to write.", show_default=False)
    ],
    kinds: Annotated[
        str, typer.Option("--kinds", metavar="A,B,...", help="What has faults.")
    ] = "weight,threshold,activation",
    effect: Annotated[str, typer.Option("--effect", help="flip, stuck-at-0 or stuck-at-1.")] = "flip",
    layers: Annotated[
        str, typer.Option("--layers", metavar="A,B,...", help="Layers with faults; all if empty.")
    ] = "",
    bits: Annotated[
        int, typer.Option("--bits", min=0, metavar="K", help="Bits of the attack; 0 for none.")
    ] = 10,
    objective: Annotated[
        str, typer.Option("--objective", help="What a bit of the attack is chosen by: accuracy or margin.")
    ] = "accuracy",
    search_images: Annotated[
        int | None,
        typer.Option("--search-images", min=1, metavar="N", help="The adversary's images; else half."),
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", min=2, metavar="N", help="Faults drawn where all are too many.")
    ] = 200,
    burst: Annotated[
        int, typer.Option("--burst", min=0, metavar="B", help="Adjacent bits of a burst; 0 for none.")
    ] = 4,
    replay: Annotated[
        int, typer.Option("--replay", min=0, metavar="N", help="Images of the replay on rtl; 0 for none.")
    ] = 100,
    seed: Annotated[
        int,
        typer.Option("--seed", min=0, max=(1 << 32) - 1, help="Of everything random, drawn weights too."),
    ] = 0,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> int:
    """Flip bits of weights, thresholds and activations: criticality maps, and the few bits that harm most.

    The emulator evaluates; the worst faults are replayed on rtl, in its memories and on its wires, and the
    exit status is 1 when a logit differs. FAULTS.json is written all the same.

    [bold]Example[/bold]: bitsiege faults build --images x.npy --labels y.npy --bits 20 -o faults.json
    """
    from attacks.faults.campaign import Campaign, Options
    from attacks.faults.model import Effect
    from attacks.faults.score import Objective
    from bitsiege.arrays import load_images, load_labels
    from bitsiege.cli.console import progress, show, show_json
    from bitsiege.findings import finding_header
    from bitsiege.outputs import check_output
    from bitsiege.pipeline.store import write_json
    from hw.build import load_build

    check_output(output, images, labels)
    loaded = load_build(build)
    pixels = load_images(images, loaded.graph.input_shape)
    options = Options(
        kinds=tuple(part.strip() for part in kinds.split(",") if part.strip()),
        effect=Effect(_choice(effect, list(Effect), "--effect")),
        nodes=tuple(part.strip() for part in layers.split(",") if part.strip()),
        bits=bits,
        objective=Objective(_choice(objective, list(Objective), "--objective")),
        search_images=len(pixels) // 2 if search_images is None else search_images,
        samples=samples,
        burst=burst,
        replay_images=replay,
        seed=seed,
    )
    campaign = Campaign(
        graph=loaded.graph,
        folding=loaded.folding,
        images=pixels,
        labels=load_labels(labels, count=len(pixels), classes=loaded.graph.classes),
        options=options,
        cache_dir=cache_dir,
    )
    start = time.perf_counter()
    with progress() as listener, listener.task("faults") as task:
        campaign.report = lambda what, done, total: task.update(done, total=total, note=what)
        result = campaign.run()
    seconds = time.perf_counter() - start
    timing = {"pairs": result.pop("pairs"), "seconds": seconds}
    result = {**finding_header("faults", loaded), **result, "timing": timing}
    write_json(output, result)
    if json:
        show_json(result)
    else:
        show(_table(result))
    for replayed in campaign.replays:
        replayed.check()
    return 0


def _choice(value: str, known: list[Any], option: str) -> str:
    from export.errors import InputError

    if value not in known:
        raise InputError(f"{option} {value!r} is unknown", hint=f"known: {', '.join(known)}")
    return value


def _table(result: dict[str, Any]) -> Table:
    from rich import box
    from rich.table import Table

    title = f"{100 * result['clean_accuracy']:.2f} % of {result['images']:,} images without faults"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    table.add_column("faults")
    for heading in ("bits", "evaluated", "mean", "worst", "harmful"):
        table.add_column(heading, justify="right")
    for layer in result["layers"]:
        bits = f"{layer['bits']:,}"
        table.add_row(f"{layer['node']} {layer['kind']}", bits, *_numbers(layer["estimate"]))
    for burst in result["bursts"]:
        name = f"{burst['node']} {burst['kind']}, bursts of {burst['length']}"
        table.add_row(name, "", *_numbers(burst["estimate"]))
    for draw in result["random"]:
        table.add_row(f"{draw['bits']:,} random bits", "", *_numbers(draw["estimate"]))
    for step in (step for attack in result["attacks"] for step in attack["steps"]):
        accuracy = step["accuracy_held_out"]
        shown = step["accuracy_search"] if accuracy is None else accuracy
        name = f"attack, {step['fault']['kind']} {step['bits']}: {step['fault']['node']}"
        table.add_row(name, str(step["bits"]), f"{step['candidates']:,}", "", f"{100 * shown:.2f} %", "")
    for replayed in result["replay"]:
        differing = sum(target["diverging_images"] for target in replayed["targets"])
        name = f"rtl, {replayed['scenario']}"
        table.add_row(
            name, str(len(replayed["faults"])), f"{replayed['images']:,}", "", f"{differing} differ", ""
        )
    return table


def _numbers(found: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{found['faults']:,}",
        f"{100 * found['mean']:.2f} %",
        f"{100 * found['worst']:.2f} %",
        f"{100 * found['harmful']:.1f} %",
    )
