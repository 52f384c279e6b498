from typing import Any

from bitsiege.report.evaluation import CellResult, TargetShare
from bitsiege.report.transfers import transfer_matrices
from bitsiege.report.worst import share


def cell(model: str, source: str, correct: int, *, seed: int = 0, **changes: Any) -> CellResult:
    found = TargetShare(target="emulator", kind="s", divergences=0, **share(correct, 100).model_dump())
    values: dict[str, Any] = {
        "model": model,
        "attack": "pgd",
        "title": "pgd",
        "source": source,
        "access": "",
        "norm": "linf",
        "epsilon": 0.1,
        "seed": seed,
        "parameters": {},
        "images": 100,
        "images_done": 100,
        "finished": True,
        "attacked": (found,),
    }
    return CellResult(**(values | changes))


def crafted(name: str, succeeded: int, **parameters: Any) -> dict[str, Any]:
    return {
        "model": name,
        "title": "pgd",
        "epsilon": 0.1,
        "parameters": parameters,
        "images_done": 100,
        "succeeded": succeeded,
    }


def test_seeds_are_averaged_and_what_is_missing_is_left_out():
    cells = [
        *(cell("a", "", 10), cell("a", "", 30, seed=1)),
        *(cell("b", "", 50), cell("b", "", 50, seed=1)),
        *(cell("a", "b", 80), cell("a", "b", 90, seed=1)),
        *(cell("b", "a", 70), cell("b", "a", 0, seed=1, attacked=(), finished=False)),
        *(cell("a", "float", 60), cell("b", "float", 61)),
    ]
    (matrix,) = transfer_matrices(cells, [crafted("float", 75)], ["a", "b"])
    assert (matrix.seeds, matrix.models) == ((0, 1), ("a", "b"))
    found = {row.source: [part and round(part.accuracy, 9) for part in row.shares] for row in matrix.rows}
    assert found == {"a": [0.2, None], "b": [0.85, 0.5], "float": [0.6, 0.61]}
    assert [row.itself and row.itself.correct for row in matrix.rows] == [None, None, 25]
    own = matrix.rows[0].shares[0]
    assert own is not None
    assert (own.images, own.correct) == (100, 20)
    assert own.low < 0.2 < own.high


def test_an_attack_at_a_class_tells_no_accuracy_of_its_source():
    cells = [cell("a", "float", 60)]
    (matrix,) = transfer_matrices(cells, [crafted("float", 75, goal="next")], ["a"])
    assert matrix.rows[0].itself is None


def test_without_other_networks_there_is_no_matrix():
    assert transfer_matrices([cell("a", "", 10)], [], ["a"]) == ()
