"""The attacks of the table: the paper's, then the stronger ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from attacks.threat import Norm

EPS = 0.3
# Without the flips that follow a walk on the grid by default: the paper's attack is the walk alone.
_PGD = {"eps": EPS, "step_size": 0.01, "flips": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One attack on every model.

    Attributes:
        key: Name in files and on the command line.
        title: Name in the table.
        attack: Name in the catalog; empty for the clean images.
        parameters: What the attack takes.
        images: Test images, from the first on; the dear attacks take fewer.
        full_images: The same with ``--full``.
        on_twin: Whether gradients come from the fast twin, whose gates are narrower than the module's own;
            only models that hardware computes have one.
        drawn_only: Whether only models with drawn weights have a use for it.
        crafted_on: Model that the images are crafted on; empty for the attacked one itself.
        honest: Whether the paper lacked it.
    """

    key: str
    title: str
    attack: str
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    images: int = 1000
    full_images: int = 10_000
    on_twin: bool = False
    drawn_only: bool = False
    crafted_on: str = ""
    honest: bool = False


ROWS = (
    Row(key="clean", title="clean", attack="", images=10_000),
    *(
        Row(key=f"fgsm-{eps}", title=f"FGSM, ε {eps}", attack="fgsm", parameters={"eps": eps}, images=images)
        for eps, images in ((0.1, 2000), (0.2, 2000), (EPS, 10_000))
    ),
    *(
        Row(
            key=f"pgd-{steps}",
            title=f"PGD-{steps}",
            attack="pgd",
            parameters=_PGD | {"steps": steps},
            images=images,
        )
        for steps, images in ((20, 500), (40, 1000), (100, 256))
    ),
    Row(
        key="cw-100",
        title="CW-L2, 100 iterations",
        attack="cw",
        parameters={"steps": 100},
        images=200,
        full_images=1000,
    ),
    Row(
        key="pgd-l2",
        title="PGD-40 in L2, ε 3",
        attack="pgd",
        parameters={"norm": Norm.L2, "eps": 3.0, "steps": 40},
        images=256,
        honest=True,
    ),
    Row(
        key="cw-1000",
        title="CW-L2, 1,000 iterations",
        attack="cw",
        parameters={"steps": 1000},
        images=50,
        full_images=1000,
    ),
    Row(
        key="substitute",
        title="FGSM from a substitute",
        attack="substitute",
        parameters={"eps": EPS},
        full_images=9850,
    ),
    Row(
        key="pgd-fixed",
        title="PGD-40, one draw for all steps",
        attack="pgd",
        parameters=_PGD | {"steps": 40, "fixed_draw": True},
        images=500,
        drawn_only=True,
    ),
    Row(
        key="pgd-eot",
        title="PGD-40, mean of 10 draws",
        attack="pgd",
        parameters=_PGD | {"steps": 40, "eot": 10},
        images=128,
        drawn_only=True,
        honest=True,
    ),
    Row(
        key="pgd-njs",
        title="PGD++ (NJS), 40 steps",
        attack="pgd",
        parameters=_PGD | {"steps": 40, "scaling": "njs"},
        images=500,
        honest=True,
    ),
    Row(
        key="pgd-tanh",
        title="PGD-40, gradient of tanh",
        attack="pgd",
        parameters=_PGD | {"steps": 40, "estimator": "tanh"},
        images=500,
        honest=True,
    ),
    Row(
        key="pgd-twin",
        title="PGD-40, gates a quarter as wide",
        attack="pgd",
        parameters=_PGD | {"steps": 40},
        images=500,
        on_twin=True,
        honest=True,
    ),
    Row(
        key="pgd-restarts",
        title="PGD-40, 5 restarts",
        attack="pgd",
        parameters=_PGD | {"steps": 40, "restarts": 5},
        images=256,
        honest=True,
    ),
    Row(
        key="apgd-dlr",
        title="APGD-DLR, 100 steps",
        attack="apgd-dlr",
        parameters={"eps": EPS, "steps": 100},
        images=500,
        honest=True,
    ),
    Row(
        key="square",
        title="Square, 5,000 queries",
        attack="square",
        parameters={"eps": EPS, "max_queries": 5000},
        images=256,
        honest=True,
    ),
    Row(
        key="transfer",
        title="PGD-40 from the float twin A",
        attack="pgd",
        parameters=_PGD | {"steps": 40},
        crafted_on="A",
        honest=True,
    ),
)
