"""Attack the paper's models and print one table; the weights ship with the package.

    python -m benchmarks.paper --out DIR [--full] [--images N] [--models A,B] [--rows clean,pgd-40]
        [--jobs N] [--json]

Every cell is kept in DIR, so that a later call goes on where an earlier one stopped. To train a model again:
``bitsiege train configs/paper/NAME.toml --out DIR``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from benchmarks.paper.cells import Limits, compute
from benchmarks.paper.models import MODELS, Model, available, open_model
from benchmarks.paper.rows import ROWS, Row
from benchmarks.paper.table import as_json, markdown, read_cells, targets_markdown
from export.errors import BitsiegeError, InputError

_T = TypeVar("_T", Model, Row)


def main() -> int:
    """Compute the cells that are missing and print the table."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.paper", description="Attack the paper's models and print one table."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--images", type=int, default=10_000, help="most images of a cell")
    parser.add_argument("--full", action="store_true", help="10,000 images, of the dearest attacks 1,000")
    parser.add_argument("--rtl-images", type=int, default=100, help="the first ones, for rtl")
    parser.add_argument("--models", default="", help="letters, separated by commas; default: all shipped")
    parser.add_argument("--rows", default="", help="keys of attacks; default: all")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--data-dir", type=Path, help="folder with data sets")
    parser.add_argument("--cache-dir", type=Path, help="where compiled simulators are kept")
    parser.add_argument("--json", action="store_true", help="print the cells as JSON")
    arguments = parser.parse_args()
    try:
        models = _chosen(arguments.models, available(), [model.key for model in MODELS])
        rows = _chosen(arguments.rows, ROWS, [row.key for row in ROWS])
        limits = Limits(images=arguments.images, rtl_images=arguments.rtl_images, full=arguments.full)
        _compute_all(arguments, models, rows, limits)
        counts = {row.key: limits.count(row) for row in rows}
        cells = read_cells(arguments.out, models, rows, counts)
    except BitsiegeError as error:
        sys.stderr.write(f"benchmarks.paper: {error}\n")
        return error.exit_status
    if arguments.json:
        print(as_json(cells))
    else:
        print(f"Accuracy left [%]\n\n{markdown(cells, models, rows)}\n")
        print(f"On each target\n\n{targets_markdown(cells, models, rows)}")
    return 0


def _compute_all(
    arguments: argparse.Namespace, models: Sequence[Model], rows: Sequence[Row], limits: Limits
) -> None:
    tasks = [(model.key, row) for row in rows for model in models if open_model(model.key).takes(row)]
    folder = arguments.out
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        waiting = {
            pool.submit(compute, key, row, folder, limits, arguments.data_dir, arguments.cache_dir): (
                key,
                row,
            )
            for key, row in tasks
        }
        for number, future in enumerate(as_completed(waiting), start=1):
            future.result()
            key, row = waiting[future]
            print(f"{number}/{len(tasks)} {key}: {row.title}", file=sys.stderr, flush=True)


def _chosen(text: str, there: Sequence[_T], known: Sequence[str]) -> list[_T]:
    keys = [part.strip() for part in text.split(",") if part.strip()]
    for key in keys:
        if key not in known:
            raise InputError(f"there is no {key!r}", hint=f"known: {', '.join(known)}")
    return [item for item in there if not keys or item.key in keys]


if __name__ == "__main__":
    sys.exit(main())
