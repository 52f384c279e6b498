"""Proofs are accepted, and anything that is none is refused."""

import math
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pysat.solvers import Solver

from attacks.verify.cnf import encode
from attacks.verify.exhaust import enumerate_inputs
from attacks.verify.problem import FreePixel, Problem, Rows
from attacks.verify.proof import prove
from attacks.verify.proofcheck import check_proof
from export.errors import CheckFailedError

# Four clauses over two variables exclude all four assignments.
ALL = "p cnf 2 4\n1 2 0\n1 -2 0\n-1 2 0\n-1 -2 0\n"


def random_problem(seed, *, pixels=6, neurons=(5, 4), targets=2):
    draw = np.random.default_rng(seed)

    def rows(count, inputs, spread):
        weights = draw.integers(-1, 2, (count, inputs))
        return Rows(weights=weights, need=draw.integers(-spread, spread + 1, count))

    sizes = (pixels, *neurons)
    free = tuple(FreePixel(pixel=p, counts=(0, 1), first=(100, 128), last=(127, 140)) for p in range(pixels))
    return Problem(
        image=np.full(pixels, 120, np.uint8),
        pixels=free,
        layers=tuple(rows(b, a, 1) for a, b in pairwise(sizes)),
        targets=tuple(range(1, targets + 1)),
        margins=rows(targets, sizes[-1], 3),
    )


def test_a_small_refutation():
    assert check_proof(ALL, "1 0\n0\n") == 1
    assert check_proof("p cnf 1 1\n0\n", "") == 0
    assert check_proof("p cnf 1 2\n1 0\n-1 0\n", "c nothing to say\n") == 0


def test_a_clause_that_does_not_follow():
    with pytest.raises(CheckFailedError, match="1 in line 1 does not follow"):
        check_proof("p cnf 2 2\n1 2 0\n-1 2 0\n", "1 0\n0\n")


def test_a_proof_that_ends_early():
    with pytest.raises(CheckFailedError, match="without a contradiction"):
        check_proof(ALL, "c\n")


def test_a_deleted_clause_is_gone():
    with pytest.raises(CheckFailedError, match="does not follow"):
        check_proof(ALL, "d 1 2 0\n1 0\n")


@pytest.mark.parametrize("text", ["1 x 0\n", "1 2\n", "1 0 2 0\n"])
def test_damaged_lines(text):
    with pytest.raises(CheckFailedError, match="line 1 of the proof"):
        check_proof(ALL, text)


def test_no_time():
    with pytest.raises(TimeoutError):
        check_proof(ALL, "1 0\n", deadline_s=time.monotonic() - 1)


@settings(max_examples=30)
@given(seed=st.integers(0, 100_000), share=st.booleans())
def test_formulas_and_proofs_agree_with_every_input(seed, share):
    problem = random_problem(seed)
    counts = enumerate_inputs(problem, math.inf)
    cnf = encode(problem, share=share)
    with Solver(name="cadical153", bootstrap_with=[c for c in cnf.clauses if c]) as solver:
        assert solver.solve() == (counts is not None)
    if counts is None:
        proof = prove(problem, math.inf)
        check_proof(proof.formula, proof.steps)
    else:
        with pytest.raises(CheckFailedError, match="satisfiable"):
            prove(problem, math.inf)


def hard_proof():
    """A proof of more than a hundred steps; the seed was looked for."""
    return prove(random_problem(1036, pixels=12, neurons=(12, 10), targets=3), math.inf)


def test_a_corrupted_proof_is_refused():
    proof = hard_proof()
    assert check_proof(proof.formula, proof.steps) > 10
    lines = proof.steps.splitlines(keepends=True)
    with pytest.raises(CheckFailedError):
        check_proof(proof.formula, "".join(lines[-1:]))
    # A unit that no formula of the encoder implies: both values of the first pixel are in the ball.
    for literal in (1, -1):
        with pytest.raises(CheckFailedError, match="line 1 does not follow"):
            check_proof(proof.formula, f"{literal} 0\n{''.join(lines)}")


def test_a_proof_of_another_formula_is_refused():
    proof = hard_proof()
    first, *clauses = proof.formula.splitlines(keepends=True)
    # Without its last clause, "one of the classes wins", the formula has a model: the network's own run.
    with pytest.raises(CheckFailedError):
        check_proof(first + "".join(clauses[:-1]), proof.steps)
