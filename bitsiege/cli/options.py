"""Arguments and options that several commands share, and the environment that stands in for some of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

DATA_DIR_VARIABLE = "BITSIEGE_DATA_DIR"
CACHE_DIR_VARIABLE = "BITSIEGE_CACHE_DIR"
BOARDS_VARIABLE = "BITSIEGE_BOARDS"

Json: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--json", help="Print the result as JSON on standard output, everything else on standard error."
    ),
]
DataDir: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        envvar=DATA_DIR_VARIABLE,
        help="Folder with data sets, instead of downloading them.",
    ),
]
CacheDir: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--cache-dir",
        metavar="DIR",
        envvar=CACHE_DIR_VARIABLE,
        help="Where compiled simulators and emulators are kept.",
    ),
]
BoardsFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--boards",
        metavar="BOARDS.toml",
        envvar=BOARDS_VARIABLE,
        help="The boards that you know, instead of those in your settings.",
    ),
]
BuildDir: TypeAlias = Annotated[
    Path, typer.Argument(metavar="BUILD", help="Directory that `bitsiege compile` wrote.", show_default=False)
]
DrawSeed: TypeAlias = Annotated[
    int,
    typer.Option(
        "--draw-seed",
        min=0,
        max=(1 << 32) - 1,
        help="Seed of weights that the network draws for each frame; image i is frame i.",
    ),
]
