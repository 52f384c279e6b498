"""The fitted resource model: what an instance or a design will cost, and how far off that may be."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

from export.errors import InputError
from export.files import atomic_file
from hw.resources.fit import FittedModule, FittedResource, fit
from hw.resources.points import RESOURCES, Point, module_hash, plain_parameters, point_from_json
from hw.resources.terms import module_terms
from hw.rtlgen import Instance, RtlDesign

FORMAT_VERSION = 1
FITTED = Path(__file__).parent / "fitted.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """An estimated number of primitives.

    Attributes:
        value: The estimate.
        error: Typical relative error: the median of unseen instances, weighted by their share.
        worst: As `error`, with the worst instance of each module.
    """

    value: float
    error: float
    worst: float

    def text(self, unit: str) -> str:
        """The number with its error, such as ``1,234 LUT ± 5 %``."""
        number = (
            f"{self.value:,.0f}"
            if self.value >= 20 or self.value == round(self.value)
            else f"{self.value:.1f}"
        )
        return f"{number} {unit} ± {100 * self.error:.0f} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a design will cost.

    Attributes:
        lut: LUT sites of logic and of distributed memories together.
        lutram: The part of `lut` that is memory.
        ff: Flip-flops.
        bram36: Block RAMs of 36 kbit; one of 18 kbit is half.
        dsp: DSP slices.
    """

    lut: Amount
    lutram: Amount
    ff: Amount
    bram36: Amount
    dsp: Amount

    def text(self) -> str:
        """One line."""
        parts = [self.lut.text("LUT"), self.ff.text("FF"), self.bram36.text("BRAM36")]
        return ", ".join([*parts, self.dsp.text("DSP")] if self.dsp.value else parts)

    def to_json(self) -> dict[str, dict[str, float]]:
        """Return plain values."""
        return {
            name: {
                "estimate": round(amount.value, 1),
                "relative_error": round(amount.error, 4),
                "worst_relative_error": round(amount.worst, 4),
            }
            for name, amount in ((name, cast("Amount", getattr(self, name))) for name in RESOURCES)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceModel:
    """Coefficients of every module and the measurements that they come from.

    Attributes:
        family: Family of FPGAs that was synthesised for.
        yosys: Version of the tool.
        modules: Coefficients and errors.
        points: Measurements.
    """

    family: str
    yosys: str
    modules: Mapping[str, FittedModule]
    points: Sequence[Point]
    _known: dict[Any, Mapping[str, float]] = field(default_factory=dict[Any, Any], repr=False, compare=False)

    def instance(self, module: str, parameters: Mapping[str, int | str]) -> Mapping[str, float]:
        """Return `RESOURCES` of one instance; ``lut`` is logic alone.

        Raises:
            InputError: The model has no such module.
        """
        numbers = plain_parameters(parameters)
        key = (module, *numbers.values())
        if key not in self._known:
            self._known[key] = self._predict(module, numbers)
        return self._known[key]

    def _predict(self, module: str, parameters: Mapping[str, int | str]) -> Mapping[str, float]:
        fitted = self.modules.get(module)
        if fitted is None:
            raise InputError(
                f"the resource model knows no {module}", hint="fit it: python -m benchmarks.resources"
            )
        terms = module_terms(module, parameters)
        return {
            name: sum(
                fitted.resources[name].coefficients.get(term, 0.0) * value
                for term, value in terms[name].items()
            )
            for name in RESOURCES
        }

    def luts(self, instances: Sequence[Instance]) -> float:
        """Return LUT sites, memory included, of some instances."""
        costs = (self.instance(i.module, i.parameters) for i in instances)
        return sum(cost["lut"] + cost["lutram"] for cost in costs)

    def bram36(self, instances: Sequence[Instance]) -> float:
        """Return block RAMs of some instances."""
        return sum(self.instance(i.module, i.parameters)["bram36"] for i in instances)

    def estimate(self, design: RtlDesign) -> Estimate:
        """Return what a design will cost; instances are added up, as `hw.synth` does.

        Raises:
            InputError: The model lacks one of its modules.
        """
        amounts = {name: self._amount(name, design.instances) for name in RESOURCES}
        logic, memory = amounts["lut"], amounts["lutram"]
        whole = max(logic.value + memory.value, 1e-9)
        amounts["lut"] = Amount(
            value=logic.value + memory.value,
            error=(logic.value * logic.error + memory.value * memory.error) / whole,
            worst=(logic.value * logic.worst + memory.value * memory.worst) / whole,
        )
        return Estimate(**amounts)

    def _amount(self, resource: str, instances: Sequence[Instance]) -> Amount:
        total = error = worst = 0.0
        for instance in instances:
            value = self.instance(instance.module, instance.parameters)[resource]
            fitted = self.modules[instance.module].resources[resource]
            total += value
            error += value * fitted.median_error
            worst += value * fitted.worst_error
        share = max(total, 1e-9)
        return Amount(value=total, error=error / share, worst=worst / share)

    def outdated(self) -> list[str]:
        """Return the modules whose text is no longer what was synthesised."""
        return sorted({p.module for p in self.points if p.source != module_hash(p.module)})


@cache
def load_model() -> ResourceModel:
    """Return the model that ships with the package."""
    return read_model(FITTED)


def read_model(path: Path) -> ResourceModel:
    """Read a model.

    Raises:
        InputError: It can't be read, or is no model of this version.
    """
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no resource model: {error}") from error
    try:
        if document["version"] != FORMAT_VERSION:
            raise InputError(f"{path} is a resource model of version {document['version']}")
        points = [point_from_json(p, where=str(path)) for p in document["points"]]
        modules = {str(name): _module_from_json(value) for name, value in document["modules"].items()}
        family, yosys = str(document["family"]), str(document["yosys"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is no resource model: it lacks fields") from error
    return ResourceModel(family=family, yosys=yosys, modules=modules, points=points)


def write_model(path: Path, points: Sequence[Point], *, family: str, yosys: str) -> ResourceModel:
    """Fit a model to measurements and write both.

    Raises:
        InputError: The file can't be written.
    """
    modules = fit(points)
    document = {
        "version": FORMAT_VERSION,
        "family": family,
        "yosys": yosys,
        "modules": {name: _module_to_json(module) for name, module in modules.items()},
        "points": [point.to_json() for point in points],
    }
    text = json.dumps(document, indent=1)
    with atomic_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return ResourceModel(family=family, yosys=yosys, modules=modules, points=points)


def _module_to_json(module: FittedModule) -> dict[str, Any]:
    return {
        "points": module.points,
        "resources": {
            name: {
                "coefficients": dict(fitted.coefficients),
                "median_error": fitted.median_error,
                "worst_error": fitted.worst_error,
            }
            for name, fitted in module.resources.items()
        },
    }


def _module_from_json(value: dict[str, Any]) -> FittedModule:
    return FittedModule(
        resources={
            str(name): FittedResource(
                coefficients={str(k): float(v) for k, v in fitted["coefficients"].items()},
                median_error=float(fitted["median_error"]),
                worst_error=float(fitted["worst_error"]),
            )
            for name, fitted in value["resources"].items()
        },
        points=int(value["points"]),
    )
