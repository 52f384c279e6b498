"""CP-SAT of ortools on a problem: reified linear constraints over bounded integers."""

from __future__ import annotations

import time

import numpy as np

from attacks.verify.exhaust import OutOfTimeError
from attacks.verify.problem import Problem
from export.errors import ToolError
from export.graph import IntArray


def solve_integer(problem: Problem, deadline_s: float, *, seed: int = 0) -> IntArray | None:
    """Solve a problem of any weights and levels, on one core.

    Args:
        problem: At least one target.
        deadline_s: On the clock of `time.monotonic`.
        seed: Of the solver.

    Returns:
        Counts that change the class, int64 ``(pixels,)``, or None where no input does.

    Raises:
        OutOfTimeError: There was not enough time.
        ToolError: ortools is not installed.
    """
    try:
        from ortools.sat.python import cp_model
    except ImportError as error:
        raise ToolError("ortools is not installed", hint="pip install ortools") from error
    model = cp_model.CpModel()
    inputs = [
        model.new_int_var_from_domain(cp_model.Domain.from_values(list(pixel.counts)), f"x{pixel.pixel}")
        for pixel in problem.pixels
    ]
    units = inputs
    for rows in problem.layers:
        neurons = [model.new_bool_var("") for _ in range(len(rows.need))]
        for neuron, row, need in zip(neurons, rows.weights, rows.need.tolist(), strict=True):
            total = cp_model.LinearExpr.weighted_sum(units, row.tolist())
            model.add(total >= need).only_enforce_if(neuron)
            model.add(total < need).only_enforce_if(~neuron)
        units = neurons
    winners = [model.new_bool_var("") for _ in problem.targets]
    for winner, row, need in zip(
        winners, problem.margins.weights, problem.margins.need.tolist(), strict=True
    ):
        model.add(cp_model.LinearExpr.weighted_sum(units, row.tolist()) >= need).only_enforce_if(winner)
    model.add_bool_or(winners)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    solver.parameters.max_time_in_seconds = max(0.0, deadline_s - time.monotonic())
    status = solver.solve(model)
    if status == cp_model.INFEASIBLE:
        return None
    if status in (cp_model.FEASIBLE, cp_model.OPTIMAL):
        return np.array([solver.value(variable) for variable in inputs], np.int64)
    raise OutOfTimeError
