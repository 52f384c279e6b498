"""Measured costs of module instances: what a resource model is fitted to."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from export.errors import InputError
from hw.rtlgen import Instance, RtlDesign
from hw.rtlgen.generate import RTL_DIR
from hw.synth import Cost

RESOURCES = ("lut", "lutram", "ff", "bram36", "dsp")
_NAME = re.compile(r"\bbnn_[a-z0-9_]+\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One instance that was synthesised.

    Attributes:
        module: Name of its module.
        parameters: Its numbers and words; names of memory files are left out.
        cost: `RESOURCES` of it.
        source: Hash of the module's text when it was synthesised.
    """

    module: str
    parameters: Mapping[str, int | str]
    cost: Mapping[str, float]
    source: str

    @property
    def key(self) -> tuple[str, tuple[tuple[str, int | str], ...]]:
        """Equal for equal instances."""
        return self.module, tuple(sorted(self.parameters.items()))

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "module": self.module,
            "source": self.source,
            "parameters": dict(self.parameters),
            "cost": dict(self.cost),
        }


def measured(instance: Instance, cost: Cost, source: str) -> Point:
    """Return what synthesis found of an instance, and of which text of its module."""
    return Point(
        source=source,
        module=instance.module,
        parameters=plain_parameters(instance.parameters),
        cost={name: getattr(cost, name) for name in RESOURCES},
    )


def plain_parameters(parameters: Mapping[str, int | str]) -> dict[str, int | str]:
    """Return parameters without the names of memory files."""
    return {name: value for name, value in parameters.items() if not name.endswith("_FILE")}


def point_from_json(value: object, *, where: str) -> Point:
    """Read what `Point.to_json` wrote.

    Raises:
        InputError: It is not that.
    """
    if not isinstance(value, dict):
        raise InputError(f"{where} has a measurement that can't be read")
    entry = cast("dict[str, Any]", value)
    try:
        return Point(
            module=str(entry["module"]),
            parameters={str(k): _word(v) for k, v in entry["parameters"].items()},
            cost={name: float(entry["cost"][name]) for name in RESOURCES},
            source=str(entry["source"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{where} has a measurement that is incomplete") from error


def _word(value: object) -> int | str:
    if isinstance(value, int | str):
        return value
    raise TypeError(f"a parameter is {value!r}")


def module_parts(module: str) -> dict[str, str]:
    """Return the text of a module and of all that it instantiates, by their names."""
    texts: dict[str, str] = {}
    names = [module]
    while names:
        name = names.pop()
        path = RTL_DIR / f"{name}.sv"
        if name in texts or not path.is_file():
            continue
        texts[name] = re.sub(r"//[^\n]*", "", path.read_text(encoding="utf-8"))
        names += _NAME.findall(texts[name])
    return texts


def module_hash(module: str) -> str:
    """Return a hash of a module's text and of all that it instantiates, without comments and white space."""
    parts = module_parts(module)
    text = "\n".join("".join(parts[name].split()) for name in sorted(parts))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def only(design: RtlDesign, instance: Instance) -> RtlDesign:
    """Return a design of one of its instances, without the text of the other modules."""
    needed = {f"{name}.sv" for name in module_parts(instance.module)}
    sources = tuple(name for name in design.sources[:-1] if name in needed)
    return replace(design, instances=(instance,), sources=(*sources, design.sources[-1]))


def unique(points: Iterable[Point]) -> list[Point]:
    """Return points without repetitions, the later one of two that describe the same instance."""
    return list({point.key: point for point in points}.values())
