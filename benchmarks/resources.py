"""Fits the resource model to Yosys, and tells its error.

    python -m benchmarks.resources [--json] [--modules NAME ...] [--minutes M] [--add FILE] [--no-synthesis]

Synthesises instances of small networks, a few seconds each, fits the coefficients, and writes both to the
file that ships with the package. What is measured already is not measured again, unless the module's text has
changed since. Each measurement goes to standard error as one line of JSON, which --add reads again after a
break. With --minutes it stops measuring after that time and fits what there is.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from export.errors import BitsiegeError, InputError, ToolError
from hw.resources import FITTED, Point, ResourceModel, measured, read_model, write_model
from hw.resources.points import module_hash, only, plain_parameters, point_from_json, unique
from hw.resources.samples import chosen, samples
from hw.resources.terms import known_modules
from hw.rtlgen import generate_rtl
from hw.synth import find_yosys, synthesise

_FAMILY = "xc7"


def measure(
    known: Sequence[Point], modules: Sequence[str], deadline: float, cache_dir: Path | None
) -> list[Point]:
    """Return the known points and those of the samples that are still missing, module by module."""
    points = {point.key: point for point in known}
    with tempfile.TemporaryDirectory() as folder:
        jobs = [
            (design, instance, Path(folder) / str(number))
            for number, sample in enumerate(samples())
            if set(sample.modules) & set(modules)
            for design in [generate_rtl(sample.graph, sample.folding, Path(folder) / str(number))]
            for instance in chosen(sample, design)
            if instance.module in modules
        ]
        jobs.sort(key=lambda job: modules.index(job[1].module))
        for design, instance, directory in jobs:
            key = (instance.module, tuple(sorted(plain_parameters(instance.parameters).items())))
            if key in points:
                continue
            if time.monotonic() > deadline:
                break
            source = module_hash(instance.module)
            part = only(design, instance)
            try:
                cost = synthesise(part, directory, family=_FAMILY, cache_dir=cache_dir).instances[0].cost
            except ToolError as error:
                print(f"{instance.module} {dict(key[1])}: {error.message}", file=sys.stderr, flush=True)
                continue
            points[key] = measured(instance, cost, source)
            print(json.dumps(points[key].to_json()), file=sys.stderr, flush=True)
    return list(points.values())


def read_points(path: Path) -> list[Point]:
    """Read measurements, one JSON object a line; other lines say which ones failed."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [point_from_json(json.loads(line), where=str(path)) for line in lines if line.startswith("{")]
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path} is no list of measurements: {error}") from error


def known_points(path: Path, *, keep: bool) -> list[Point]:
    """Return the points of a model; without ``keep`` those whose modules haven't changed since."""
    if not path.exists():
        return []
    points = read_model(path).points
    return [point for point in points if keep or point.source == module_hash(point.module)]


def render(model: ResourceModel) -> str:
    """Return errors and coefficients as text."""
    lines = [f"fitted to {len(model.points)} instances, {model.family}, {model.yosys}"]
    lines.append(f"{'module':18}{'resource':>9}{'points':>8}{'median':>9}{'worst':>8}  coefficients")
    for name, module in model.modules.items():
        for resource, fitted in module.resources.items():
            if not fitted.coefficients:
                continue
            terms = ", ".join(f"{term} {value:.3g}" for term, value in fitted.coefficients.items())
            lines.append(
                f"{name:18}{resource:>9}{module.points:>8}{100 * fitted.median_error:>7.1f} %"
                f"{100 * fitted.worst_error:>6.0f} %  {terms}"
            )
    return "\n".join(lines)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="write JSON instead of a table")
    parser.add_argument("--modules", nargs="+", choices=known_modules(), default=list(known_modules()))
    parser.add_argument("--minutes", type=float, default=60.0, help="stop measuring after that time")
    parser.add_argument("--add", type=Path, nargs="+", default=[], help="more measurements, one a line")
    parser.add_argument("--no-synthesis", action="store_true", help="only fit what is measured")
    parser.add_argument("--keep", action="store_true", help="keep measurements of earlier texts of modules")
    parser.add_argument("--cache-dir", type=Path, help="where synthesis results are kept")
    parser.add_argument("-o", "--output", type=Path, default=FITTED, help="the file to update")
    options = parser.parse_args()
    try:
        points = known_points(options.output, keep=options.keep)
        points = unique([*points, *(point for path in options.add for point in read_points(path))])
        if not options.no_synthesis:
            deadline = time.monotonic() + 60 * options.minutes
            points = measure(points, options.modules, deadline, options.cache_dir)
        model = write_model(options.output, points, family=_FAMILY, yosys=find_yosys().version)
    except BitsiegeError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    if options.json:
        modules = json.loads(options.output.read_text(encoding="utf-8"))["modules"]
        print(json.dumps({"yosys": model.yosys, "family": model.family, "modules": modules}, indent=2))
    else:
        print(render(model))
    return 0


if __name__ == "__main__":
    sys.exit(main())
