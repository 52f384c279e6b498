"""Proofs of certified answers: the clauses, and a refutation that anybody's checker can follow."""

from __future__ import annotations

from dataclasses import dataclass

from attacks.verify.cnf import encode
from attacks.verify.problem import Problem
from attacks.verify.sat import solve_until
from export.errors import CheckFailedError, ToolError

_SOLVER = "glucose4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A refutation.

    Attributes:
        formula: Clauses in DIMACS form; they are satisfiable exactly where the class changes.
        steps: The refutation in DRUP form.
    """

    formula: str
    steps: str


def prove(problem: Problem, deadline_s: float) -> Proof:
    """Return a proof that no input changes the class.

    Args:
        problem: One that was posed with intervals alone, so that as little as possible is taken on trust.
        deadline_s: On the clock of `time.monotonic`.

    Raises:
        OutOfTimeError: There was not enough time.
        CheckFailedError: An input does change the class.
        ToolError: python-sat is not installed.
    """
    try:
        from pysat.solvers import Solver
    except ImportError as error:
        raise ToolError("python-sat is not installed", hint="pip install python-sat") from error
    cnf = encode(problem, deadline_s=deadline_s)
    if not all(cnf.clauses):
        return Proof(formula=cnf.dimacs(), steps="0\n")
    with Solver(name=_SOLVER, bootstrap_with=cnf.clauses, with_proof=True) as solver:
        if solve_until(solver, deadline_s):
            raise CheckFailedError("the formula of a certified image is satisfiable")
        lines = solver.get_proof() or []
    return Proof(formula=cnf.dimacs(), steps="".join(f"{line}\n" for line in lines))
