"""Fitting a resource model to measured instances, and telling how far off it is on others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hw.resources.points import Point
from hw.resources.terms import FORMULAS, LEAST_LUTS, module_terms

_Array = npt.NDArray[np.float64]
# Below this many primitives an error is counted relative to it: one LUT too many out of two is no 50 %.
_FLOORS: Mapping[str, float] = {"lut": 20.0, "lutram": 8.0, "ff": 20.0, "bram36": 1.0, "dsp": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedResource:
    """One resource of one module.

    Attributes:
        coefficients: Primitives for one unit of each term, by the term's name; none is negative.
        median_error: Median relative error of instances that the coefficients had not seen.
        worst_error: The greatest of these.
    """

    coefficients: Mapping[str, float]
    median_error: float
    worst_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedModule:
    """One module.

    Attributes:
        resources: LUT, FF and so on by name.
        points: Instances that it was fitted to.
    """

    resources: Mapping[str, FittedResource]
    points: int


def fit(points: Sequence[Point]) -> dict[str, FittedModule]:
    """Fit every module that there are points of.

    Coefficients are least squares of the relative error, and none is less than hardware needs. Errors are of
    each point in turn, predicted from a fit to all the others.

    Args:
        points: Measurements, each instance once.
    """
    modules = sorted({point.module for point in points})
    return {module: _fit_module(module, [p for p in points if p.module == module]) for module in modules}


def relative_error(resource: str, predicted: float, actual: float) -> float:
    """Return how far off a prediction is, relative to what was measured or to a few primitives."""
    return abs(predicted - actual) / max(actual, _FLOORS[resource])


def _fit_module(module: str, points: Sequence[Point]) -> FittedModule:
    terms = [module_terms(module, point.parameters) for point in points]
    resources: dict[str, FittedResource] = {}
    for resource in terms[0]:
        names = sorted({name for one in terms for name in one[resource]})
        matrix = np.array([[one[resource].get(name, 0.0) for name in names] for one in terms], np.float64)
        actual = np.array([point.cost[resource] for point in points], np.float64)
        resources[resource] = _fit_resource(resource, names, matrix.reshape(len(points), len(names)), actual)
    return FittedModule(resources=resources, points=len(points))


def _fit_resource(resource: str, names: Sequence[str], matrix: _Array, actual: _Array) -> FittedResource:
    weights = 1.0 / np.maximum(actual, _FLOORS[resource])
    errors: list[float] = []
    for index in range(len(actual)):
        rest = np.arange(len(actual)) != index
        seen = _coefficients(resource, names, matrix[rest], actual[rest], weights[rest])
        errors.append(relative_error(resource, float(matrix[index] @ seen), float(actual[index])))
    values = _coefficients(resource, names, matrix, actual, weights)
    return FittedResource(
        coefficients={n: round(float(v), 5) for n, v in zip(names, values, strict=True) if v > 0},
        median_error=round(float(np.median(errors)), 4),
        worst_error=round(max(errors), 4),
    )


def _coefficients(
    resource: str, names: Sequence[str], matrix: _Array, actual: _Array, weights: _Array
) -> _Array:
    if resource in FORMULAS:
        return np.ones(len(names))
    least = np.array([LEAST_LUTS.get(name, 0.0) if resource == "lut" else 0.0 for name in names], np.float64)
    rest = actual - matrix @ least
    return least + nonnegative_least_squares(matrix * weights[:, None], rest * weights)


def nonnegative_least_squares(matrix: _Array, target: _Array) -> _Array:
    """Return x >= 0 with the least ``|matrix @ x - target|``: Lawson and Hanson's active-set method.

    Args:
        matrix: ``(rows, columns)``.
        target: ``(rows,)``.
    """
    columns = matrix.shape[1]
    x = np.zeros(columns)
    if not len(matrix):
        return x
    free = np.zeros(columns, np.bool_)
    tolerance = 1e-9 * max(1.0, float(np.abs(matrix).max(initial=0.0)))
    for _ in range(3 * columns + 10):
        gradient = matrix.T @ (target - matrix @ x)
        gradient[free] = -math.inf
        if free.all() or gradient.max(initial=-math.inf) <= tolerance:
            break
        free[int(gradient.argmax())] = True
        x = _feasible_step(matrix, target, x, free)
    return x


def _feasible_step(matrix: _Array, target: _Array, x: _Array, free: npt.NDArray[np.bool_]) -> _Array:
    """Solve for the free columns; those that would become negative are tied to 0 again."""
    while free.any():
        solved = np.zeros_like(x)
        solved[free] = np.linalg.lstsq(matrix[:, free], target, rcond=None)[0]
        negative = free & (solved <= 0)
        if not negative.any():
            return solved
        step = float(np.min(x[negative] / np.maximum(x[negative] - solved[negative], 1e-300)))
        x = x + step * (solved - x)
        free &= x > 1e-12
        x[~free] = 0.0
    return x
