"""SAT solvers on a problem: on its clauses, or with the solver's native cardinality constraints."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np

from attacks.verify.cnf import Cnf, encode
from attacks.verify.exhaust import OutOfTimeError
from attacks.verify.problem import Problem
from export.errors import ToolError
from export.graph import IntArray

NATIVE = ("minicard", "gluecard4")
"""Solvers with native cardinality constraints."""
INTERRUPTIBLE = (*NATIVE, "glucose4", "minisat22")
"""Solvers that can be stopped."""

# A timer takes no more than what fits the platform's clock.
_LONGEST_WAIT_S = 1e6


def solve_clauses(problem: Problem, name: str, deadline_s: float, *, share: bool = True) -> IntArray | None:
    """Solve the clauses of a problem.

    Args:
        problem: At least one target.
        name: A solver of python-sat. One that is not among `INTERRUPTIBLE` ignores the deadline once it runs.
        deadline_s: On the clock of `time.monotonic`.
        share: Build equal small sums once.

    Returns:
        Counts that change the class, int64 ``(pixels,)``, or None where no input does.

    Raises:
        OutOfTimeError: There was not enough time.
        ToolError: python-sat is not installed.
    """
    cnf = encode(problem, share=share, deadline_s=deadline_s)
    with _solver(name) as solver:
        solver.append_formula(cnf.clauses)
        model = _run(solver, name, deadline_s)
    return None if model is None else np.array(cnf.counts_of(problem, model), np.int64)


def solve_cardinality(problem: Problem, name: str, deadline_s: float) -> IntArray | None:
    """Solve a problem with native cardinality constraints; arguments and results as `solve_clauses`.

    Raises:
        OutOfTimeError: There was not enough time.
        ToolError: python-sat is not installed.
        ValueError: The solver lacks such constraints, or `is_cardinality` says no.
    """
    if name not in NATIVE or not is_cardinality(problem):
        raise ValueError(f"{name} can't take this problem natively")
    cnf = Cnf()
    with _solver(name) as solver:
        units: list[int] = []
        for _ in problem.pixels:
            units.append(cnf.variable())
            cnf.bits.append((units[-1],))
        for rows in problem.layers:
            units = [
                _reified(cnf, solver, row, int(need), units)
                for row, need in zip(rows.weights, rows.need, strict=True)
            ]
        winners = [
            _reified(cnf, solver, row, int(need), units, whole=False)
            for row, need in zip(problem.margins.weights, problem.margins.need, strict=True)
        ]
        cnf.clauses.append(winners)
        solver.append_formula(cnf.clauses)
        model = _run(solver, name, deadline_s)
    return None if model is None else np.array(cnf.counts_of(problem, model), np.int64)


def is_cardinality(problem: Problem) -> bool:
    """Whether every row counts: weights 0 and ±1 only, and pixels of two levels."""
    small = all(int(np.abs(rows.weights).max(initial=0)) <= 1 for rows in (*problem.layers, problem.margins))
    return small and all(pixel.counts == (0, 1) for pixel in problem.pixels)


def _reified(cnf: Cnf, solver: Any, row: IntArray, need: int, units: list[int], *, whole: bool = True) -> int:
    """Return a literal for ``row @ units >= need``; without ``whole`` it only implies that.

    The guard enters a constraint as often as it takes to satisfy the constraint, through variables equal
    to it.
    """
    literals = [
        unit if weight > 0 else -unit for weight, unit in zip(row.tolist(), units, strict=True) if weight
    ]
    need += int((row < 0).sum())
    guard = cnf.variable()
    count = len(literals)
    if need <= 0 or need > count:
        cnf.clauses.append([guard if need <= 0 else -guard])
        return guard
    copies = [cnf.variable() for _ in range(max(need, count - need + 1) if whole else need)]
    for copy in copies:
        cnf.clauses += [[-guard, copy], [guard, -copy]]
    # guard: at most count - need literals are false. not guard: at most need - 1 literals are true.
    solver.add_atmost([*(-x for x in literals), *copies[:need]], count)
    if whole:
        solver.add_atmost([*literals, *(-x for x in copies[: count - need + 1])], count)
    return guard


@contextmanager
def _solver(name: str, *, proof: bool = False) -> Generator[Any]:
    try:
        from pysat.solvers import Solver
    except ImportError as error:
        raise ToolError("python-sat is not installed", hint="pip install python-sat") from error
    with Solver(name=name, with_proof=proof) as solver:
        yield solver


def _run(solver: Any, name: str, deadline_s: float) -> list[int] | None:
    """Return a model, or None where there is none."""
    if name not in INTERRUPTIBLE:
        return solver.get_model() if solver.solve() else None
    return solver.get_model() if solve_until(solver, deadline_s) else None


def solve_until(solver: Any, deadline_s: float) -> bool:
    """Run one of the `INTERRUPTIBLE` solvers; return whether there is a model.

    Raises:
        OutOfTimeError: There was not enough time.
    """
    left_s = min(deadline_s - time.monotonic(), _LONGEST_WAIT_S)
    if left_s <= 0:
        raise OutOfTimeError
    timer = threading.Timer(left_s, solver.interrupt)
    timer.daemon = True
    timer.start()
    try:
        found = solver.solve_limited(expect_interrupt=True)
    finally:
        timer.cancel()
    if found is None:
        raise OutOfTimeError
    return bool(found)
