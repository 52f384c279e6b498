"""``bitsiege infer``: images through one target."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from bitsiege.cli.options import BoardsFile, BuildDir, CacheDir, DrawSeed, Json


def infer(
    build: BuildDir,
    target: Annotated[
        str,
        typer.Option(
            "--target",
            metavar="NAME",
            help="torch, qonnx, reference, emulator, timing, rtl, netlist, finn or remote:BOARD.",
        ),
    ],
    images: Annotated[
        Path, typer.Option("--images", metavar="X.npy", help="uint8 images (N, H, W, C).", show_default=False)
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="OUT.npz", help="Logits, labels and cycles.", show_default=False
        ),
    ],
    wave: Annotated[
        Path | None,
        typer.Option("--wave", metavar="WAVE.fst", help="Also write the waveform of one image (rtl)."),
    ] = None,
    wave_image: Annotated[
        int, typer.Option("--wave-image", metavar="K", min=0, help="Index of that image.")
    ] = 0,
    draw_seed: DrawSeed = 0,
    boards: BoardsFile = None,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> int:
    """Compute the integer logits of images on one target.

    OUT.npz gets int64 logits (N, K), int64 labels (N,), int64 cycles (N,) where the target has a clock, and
    the draw_seed where the network draws weights.

    [bold]Example[/bold]: bitsiege infer build --target emulator --images x.npy -o out.npz
    """
    from bitsiege.arrays import load_images
    from bitsiege.cli.console import progress, say, show_json
    from bitsiege.inference import infer_file, save_inference, wave_writer
    from bitsiege.outputs import check_output
    from bitsiege.targets import close_targets, draws_weights, open_any_target
    from hw.build import load_build

    check_output(output, images, wave)
    if wave is not None:
        check_output(wave, images)
    loaded = load_build(build)
    pixels = load_images(images, loaded.graph.input_shape)
    opened = open_any_target(target, loaded, cache_dir=cache_dir, draw_seed=draw_seed, boards=boards)
    try:
        # Asked for before the work, so that a slip doesn't cost a simulation.
        writer = None if wave is None else wave_writer(opened, pixels, wave_image)
        start_s = time.monotonic()
        with progress() as listener:
            result = infer_file(opened, pixels, listener)
        seconds = time.monotonic() - start_s
        drawn = draws_weights(loaded.graph)
        save_inference(output, result, draw_seed=draw_seed if drawn else None)
        if wave is not None and writer is not None:
            writer(wave)
    finally:
        close_targets([opened])
    summary: dict[str, Any] = {
        "target": opened.name,
        "kind": str(opened.kind),
        "graph_hash": loaded.graph_hash,
        "images": len(pixels),
        "draw_seed": draw_seed if drawn else None,
        "seconds": round(seconds, 4),
        "output": str(output),
        "cycles_per_image": None if result.cycles is None or not len(pixels) else float(result.cycles.mean()),
        "wave": None if wave is None else str(wave),
    }
    if json:
        show_json(summary)
    else:
        cycles = summary["cycles_per_image"]
        clock = "" if cycles is None else f", mean latency {cycles:,.1f} cycles in the stream"
        say(f"{output}: {len(pixels):,} images on {opened.name} in {seconds:.2f} s{clock}")
    return 0
