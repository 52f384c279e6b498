"""A problem as clauses: totalizers that count both ways, shared between neurons that add up the same inputs.

A ladder says how large a sum of weighted literals is, one literal a value. Two ladders are merged by clauses
for both directions (Bailleux and Boufkhad 2003; with weights: Joshi et al. 2015). Sums far below or above
what the neuron needs are not told apart. Small sums are built once for all neurons, a sum and its negation
being the same ladder read backwards: the factoring of Cheng et al. (2018).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

from attacks.verify.exhaust import OutOfTimeError
from attacks.verify.problem import Problem, Rows
from export.graph import IntArray

Literal: TypeAlias = int
Term: TypeAlias = tuple[Literal, int]

SHARED_TERMS = 8
"""Sums of at most this many terms are looked up before they are built."""
MAX_CLAUSES = 4_000_000
"""More are not tried: they would take more memory than time."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """A sum that takes ``values``, ascending; ``literals[i]`` says that it is at least ``values[i + 1]``."""

    values: tuple[int, ...]
    literals: tuple[Literal, ...]

    def at_least(self, place: int) -> Literal | None:
        """Literal of "at least ``values[place]``"; None for the first, which always holds."""
        return None if place == 0 else self.literals[place - 1]

    def mirrored(self, total: int) -> Ladder:
        """Return the ladder of ``total`` minus this sum."""
        return Ladder(
            tuple(total - value for value in reversed(self.values)),
            tuple(-literal for literal in reversed(self.literals)),
        )


@dataclass(slots=True)
class Cnf:
    """Clauses of a problem.

    Attributes:
        clauses: Of non-zero integers; the negative ones are negated variables.
        variables: How many there are, counted from 1.
        bits: For each free pixel the literals "its count has reached counts[1], counts[2], ...".
    """

    clauses: list[list[Literal]] = field(default_factory=list[list[Literal]])
    variables: int = 0
    bits: list[tuple[Literal, ...]] = field(default_factory=list[tuple[Literal, ...]])

    def variable(self) -> Literal:
        """Return a new variable."""
        self.variables += 1
        return self.variables

    def dimacs(self) -> str:
        """Return the clauses in DIMACS form."""
        lines = [f"p cnf {self.variables} {len(self.clauses)}"]
        lines += [" ".join(map(str, [*clause, 0])) for clause in self.clauses]
        return "\n".join(lines) + "\n"

    def counts_of(self, problem: Problem, model: Sequence[int]) -> list[int]:
        """Return each free pixel's count in a model, a list of literals in order of their variables."""
        return [
            pixel.counts[sum(model[literal - 1] > 0 for literal in bits)]
            for pixel, bits in zip(problem.pixels, self.bits, strict=True)
        ]


def encode(problem: Problem, *, share: bool = True, deadline_s: float = math.inf) -> Cnf:
    """Return clauses that are satisfiable exactly where the class changes.

    Args:
        problem: What to encode.
        share: Build equal small sums once.
        deadline_s: On the clock of `time.monotonic`.

    Raises:
        OutOfTimeError: There was not enough time, or there would be more than `MAX_CLAUSES`.
    """
    cnf = Cnf()
    builder = _Builder(cnf, share, deadline_s)
    units: list[list[Term]] = []
    for pixel in problem.pixels:
        bits = tuple(cnf.variable() for _ in pixel.counts[1:])
        cnf.clauses += [[lower, -upper] for lower, upper in pairwise(bits)]
        cnf.bits.append(bits)
        heights = [after - before for before, after in pairwise(pixel.counts)]
        units.append(list(zip(bits, heights, strict=True)))
    for rows in problem.layers:
        units = [[(literal, 1)] for literal in builder.literals(rows, units)]
    cnf.clauses.append(builder.literals(problem.margins, units))
    return cnf


class _Builder:
    """Adds sums to a formula."""

    def __init__(self, cnf: Cnf, share: bool, deadline_s: float) -> None:
        self._cnf = cnf
        self._share = share
        self._deadline_s = deadline_s
        self._known: dict[tuple[Term, ...], Ladder] = {}
        self._true: Literal | None = None

    def literals(self, rows: Rows, units: list[list[Term]]) -> list[Literal]:
        """Return one literal a row: whether its condition holds."""
        return [
            self._condition(row, int(need), units) for row, need in zip(rows.weights, rows.need, strict=True)
        ]

    def _condition(self, row: IntArray, need: int, units: list[list[Term]]) -> Literal:
        if len(self._cnf.clauses) > MAX_CLAUSES or time.monotonic() > self._deadline_s:
            raise OutOfTimeError
        terms: list[Term] = []
        for weight, unit in zip(row.tolist(), units, strict=True):
            for literal, height in unit:
                amount = weight * height
                if amount < 0:
                    need -= amount
                    terms.append((-literal, -amount))
                elif amount > 0:
                    terms.append((literal, amount))
        total = sum(amount for _, amount in terms)
        if need <= 0 or need > total:
            return self._constant(need <= 0)
        return self._sum(terms, need, 0).literals[0]

    def _constant(self, value: bool) -> Literal:
        if self._true is None:
            self._true = self._cnf.variable()
            self._cnf.clauses.append([self._true])
        return self._true if value else -self._true

    def _sum(self, terms: list[Term], need: int, rest: int) -> Ladder:
        """Return the ladder of a sum inside a larger one.

        Args:
            terms: What is added up.
            need: What the larger sum has to reach.
            rest: The most that the larger sum's other terms can give.
        """
        total = sum(amount for _, amount in terms)
        low, high = max(0, need - rest - 1), min(total, need)
        if self._share and low == 0 and high == total and 1 < len(terms) <= SHARED_TERMS:
            return self._shared(terms, total)
        return self._merged(terms, low, high, need, rest)

    def _shared(self, terms: list[Term], total: int) -> Ladder:
        flipped = terms[0][0] < 0
        key = tuple((-literal if flipped else literal, amount) for literal, amount in terms)
        ladder = self._known.get(key)
        if ladder is None:
            ladder = self._known[key] = self._merged(list(key), 0, total, total, total)
        return ladder.mirrored(total) if flipped else ladder

    def _merged(self, terms: list[Term], low: int, high: int, need: int, rest: int) -> Ladder:
        if len(terms) == 1:
            return Ladder((0, terms[0][1]), (terms[0][0],))
        # Blocks of a power of two start at the same places in every neuron, so that they can be shared.
        half = 1 << (len(terms) - 1).bit_length() - 1
        left, right = terms[:half], terms[half:]
        sizes = sum(amount for _, amount in left), sum(amount for _, amount in right)
        first = self._sum(left, need, rest + sizes[1])
        second = self._sum(right, need, rest + sizes[0])
        return self._merge(first, second, low, high)

    def _merge(self, first: Ladder, second: Ladder, low: int, high: int) -> Ladder:
        sums = {min(max(a + b, low), high) for a in first.values for b in second.values}
        values = tuple(sorted(sums | {low, high}))
        ladder = Ladder(values, tuple(self._cnf.variable() for _ in values[1:]))
        place = {value: i for i, value in enumerate(values)}
        clauses = self._cnf.clauses
        ends = len(first.values) - 1, len(second.values) - 1
        for i, a in enumerate(first.values):
            up_a = first.at_least(i)
            down_a = first.at_least(i + 1) if i < ends[0] else None
            for j, b in enumerate(second.values):
                p = place[min(max(a + b, low), high)]
                if p > 0:
                    clause = [ladder.literals[p - 1]]
                    clause += [-x for x in (up_a, second.at_least(j)) if x is not None]
                    clauses.append(clause)
                if p < len(values) - 1:
                    clause = [-ladder.literals[p]]
                    down_b = second.at_least(j + 1) if j < ends[1] else None
                    clause += [x for x in (down_a, down_b) if x is not None]
                    clauses.append(clause)
        return ladder
