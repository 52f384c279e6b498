"""``bitsiege verify``: proofs that no image in a ball changes the class, or images that do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitsiege.cli.options import BuildDir, CacheDir, Json

if TYPE_CHECKING:
    from rich.table import Table


def verify(
    build: BuildDir,
    images: Annotated[
        Path, typer.Option("--images", metavar="X.npy", help="uint8 images (N, H, W, C).", show_default=False)
    ],
    labels: Annotated[
        Path, typer.Option("--labels", metavar="Y.npy", help="Their classes (N,).", show_default=False)
    ],
    eps: Annotated[
        float,
        typer.Option("--eps", metavar="E", help="Largest change of a pixel in [0, 1].", show_default=False),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="VERDICTS.json", help="What to write.", show_default=False),
    ],
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="The first N images only.")
    ] = None,
    time_limit: Annotated[
        float, typer.Option("--time-limit", metavar="S", help="Seconds for one image and radius.")
    ] = 10.0,
    solvers: Annotated[
        str,
        typer.Option(
            "--solvers",
            metavar="A,B,...",
            help="In this order: exhaust, minicard, gluecard4, glucose4, cpsat.",
        ),
    ] = "exhaust,glucose4,cpsat",
    largest: Annotated[
        bool, typer.Option("--largest", help="Find each image's largest certified radius, up to --eps.")
    ] = False,
    proofs: Annotated[
        Path | None,
        typer.Option("--proofs", metavar="DIR", help="Prove certified answers, check the proofs, keep them."),
    ] = None,
    counterexamples: Annotated[
        Path | None,
        typer.Option(
            "--counterexamples",
            metavar="ATTACK.npz",
            help="Where images that fool the network go; beside VERDICTS.json by default.",
        ),
    ] = None,
    replay_target: Annotated[
        str | None,
        typer.Option("--replay-target", metavar="NAME", help="Replay them on a target, such as rtl."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", min=0, help="Processes; 0 for one a core.")] = 0,
    work: Annotated[
        Path | None,
        typer.Option(
            "--work", metavar="DIR", help="Keep the answers of single images there for later calls."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the quick attack.")] = 0,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> int:
    """Prove that no 8-bit image in the epsilon ball changes the class, or find one that does.

    An image is certified, attacked, misclassified, or unknown when the time was not enough. A call that was
    killed goes on where it stopped. ATTACK.npz is for `bitsiege replay`.

    [bold]Example[/bold]: bitsiege verify build --images x.npy --labels y.npy --eps 0.1 -o verdicts.json
    """
    import os

    from attacks.verify.verifier import Settings
    from bitsiege.arrays import load_images, load_labels
    from bitsiege.cli.console import progress, show, show_json
    from bitsiege.outputs import check_output
    from bitsiege.targets import check_target
    from bitsiege.verifying import Request, verify_build
    from hw.build import load_build

    attack = counterexamples or output.with_suffix(".npz")
    check_output(output, images, labels, attack)
    check_output(attack, images, labels)
    if replay_target is not None:
        check_target(replay_target)
    names = tuple(name.strip() for name in solvers.split(",") if name.strip())
    request = Request(
        eps=eps,
        settings=Settings(time_limit_s=time_limit, solvers=names, seed=seed),
        output=output,
        counterexamples=attack,
        largest=largest,
        proofs=proofs,
        jobs=jobs or len(os.sched_getaffinity(0)),
        work=work,
        replay_target=replay_target,
        cache_dir=cache_dir,
    )
    loaded = load_build(build)
    pixels = load_images(images, loaded.graph.input_shape)
    classes = load_labels(labels, count=len(pixels), classes=loaded.graph.classes)
    count = len(pixels) if limit is None else limit
    with progress() as listener:
        document = verify_build(loaded, pixels[:count], classes[:count], request, progress=listener)
    if json:
        show_json(document)
    else:
        show(_table(document))
    return 0


def _table(document: dict[str, Any]) -> Table:
    from rich import box
    from rich.table import Table

    title = f"{document['images']:,} images, eps {document['eps']:g} = {document['radius']} grey levels"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    table.add_column("answer")
    for heading in ("images", "share"):
        table.add_column(heading, justify="right")
    table.add_column("by")
    for status, count in document["counts"].items():
        own = [v["method"] for v in document["verdicts"] if v["status"] == status and v["method"]]
        methods = ", ".join(f"{name} {own.count(name)}" for name in sorted(set(own)))
        table.add_row(status, f"{count:,}", f"{100 * count / document['images']:.1f} %", methods)
    times = (
        f"{document['mean_seconds']:.4f} s an image, of it {document['mean_solver_seconds']:.4f} s in solvers"
    )
    table.caption = f"mean {times}; proofs checked: {document['proofs_checked']}"
    return table
