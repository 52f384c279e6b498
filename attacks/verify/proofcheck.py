"""Checks that a proof refutes a formula. It shares nothing with what wrote either of them.

A DRUP proof lists clauses. Each must follow from the formula and the ones before by unit propagation alone:
when all its literals are assumed false, a contradiction appears (reverse unit propagation, Goldberg and
Novikov, DATE 2003). Lines that begin with ``d`` say that a clause is no longer needed. A proof is complete
when the empty clause follows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from export.errors import CheckFailedError

Clause = tuple[int, ...]


def check_proof(formula: str, proof: str, *, deadline_s: float | None = None) -> int:
    """Check a proof.

    Args:
        formula: Clauses in DIMACS form.
        proof: In DRUP form.
        deadline_s: On the clock of `time.monotonic`; None for no limit.

    Returns:
        Number of the proof's clauses that were checked until the contradiction was reached.

    Raises:
        CheckFailedError: A clause does not follow, the proof ends early, or a text is damaged; the message
            names the line.
        TimeoutError: There was not enough time.
    """
    state = _Propagation()
    for _, clause in _clauses(formula, "formula", skip=("c", "p")):
        if not state.add(clause):
            return 0
    checked = 0
    for line, clause in _clauses(proof, "proof", skip=("c",)):
        if deadline_s is not None and time.monotonic() > deadline_s:
            raise TimeoutError
        if line < 0:
            state.remove(clause)
            continue
        checked += 1
        if not state.follows(clause):
            raise CheckFailedError(f"clause {' '.join(map(str, clause))} in line {line} does not follow")
        if not state.add(clause):
            return checked
    raise CheckFailedError("the proof ends without a contradiction")


def _clauses(text: str, what: str, *, skip: tuple[str, ...]) -> Iterator[tuple[int, Clause]]:
    """Yield the number of each line, negative for a deletion, and its clause."""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0] in skip:
            continue
        deletes = words[0] == "d"
        try:
            literals = [int(word) for word in words[deletes:]]
        except ValueError as error:
            raise CheckFailedError(f"line {number} of the {what} is no clause: {line:.60}") from error
        if not literals or literals[-1] != 0 or 0 in literals[:-1]:
            raise CheckFailedError(f"line {number} of the {what} does not end with one 0: {line:.60}")
        yield (-number if deletes else number), tuple(dict.fromkeys(literals[:-1]))


class _Propagation:
    """Clauses, what follows from them at once, and a way to try assumptions and take them back.

    Each clause of two and more literals is visited only when one of the two literals that it watches becomes
    false.
    """

    def __init__(self) -> None:
        self._true: set[int] = set()
        self._trail: list[int] = []
        self._watched: dict[int, list[list[int]]] = {}
        self._removed: set[int] = set()
        self._places: dict[frozenset[int], list[list[int]]] = {}

    def add(self, clause: Clause) -> bool:
        """Add a clause for good; False when a contradiction follows."""
        if any(-literal in clause for literal in clause):
            return True
        true = self._true
        open_first = sorted(clause, key=lambda literal: -literal in true)
        if not open_first or -open_first[0] in true:
            return False
        if len(open_first) > 1:
            self._places.setdefault(frozenset(clause), []).append(open_first)
            for literal in open_first[:2]:
                self._watched.setdefault(literal, []).append(open_first)
        if len(open_first) == 1 or -open_first[1] in true:
            return open_first[0] in true or self._propagate([open_first[0]])
        return True

    def remove(self, clause: Clause) -> None:
        """Drop a clause, unless something that holds for good came from it; keeping more is always sound."""
        if any(literal in self._true for literal in clause):
            return
        places = self._places.get(frozenset(clause))
        if places:
            self._removed.add(id(places.pop()))

    def follows(self, clause: Clause) -> bool:
        """Whether assuming that no literal of the clause holds leads to a contradiction."""
        if any(literal in self._true for literal in clause) or any(-literal in clause for literal in clause):
            return True
        mark = len(self._trail)
        consistent = self._propagate([-literal for literal in clause])
        for literal in self._trail[mark:]:
            self._true.discard(literal)
        del self._trail[mark:]
        return not consistent

    def _propagate(self, literals: list[int]) -> bool:
        """Assume literals and all that follows; False at a contradiction."""
        true, trail = self._true, self._trail
        head = len(trail)
        for literal in literals:
            if -literal in true:
                return False
            if literal not in true:
                true.add(literal)
                trail.append(literal)
        while head < len(trail):
            false = -trail[head]
            head += 1
            if not self._visit(false):
                return False
        return True

    def _visit(self, false: int) -> bool:
        """Let clauses that watch a literal that became false watch another one, or conclude."""
        true, trail = self._true, self._trail
        watching = self._watched.get(false, [])
        kept: list[list[int]] = []
        for place, clause in enumerate(watching):
            if id(clause) in self._removed:
                kept.append(clause)
                continue
            if clause[0] == false:
                clause[0], clause[1] = clause[1], false
            first = clause[0]
            if first in true:
                kept.append(clause)
                continue
            for other in range(2, len(clause)):
                if -clause[other] not in true:
                    clause[1], clause[other] = clause[other], false
                    self._watched.setdefault(clause[1], []).append(clause)
                    break
            else:
                kept.append(clause)
                if -first in true:
                    self._watched[false] = kept + watching[place + 1 :]
                    return False
                true.add(first)
                trail.append(first)
        self._watched[false] = kept
        return True
