"""An attack in a configuration file: its name, its budgets, and whatever parameters that attack has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from export.errors import BitsiegeError

Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_OWN = ("label", "name", "epsilons")


class AttackConfig(BaseModel):
    """One attack, at each of its budgets.

    All other keys of the table are parameters of the attack, such as ``steps`` of ``pgd``; ``bitsiege attack
    --list`` shows them. They are checked before anything starts.

    Attributes:
        name: Name in `attacks.catalog.ATTACKS`.
        epsilons: Budgets in the unit of the attack's norm; none for an attack that looks for the smallest
            change.
        label: Name in folders and reports; two tables need different ones. Without it the attack's name and,
            where they are not the usual ones, its goal and norm.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False, validate_default=True)

    label: Label
    name: str
    epsilons: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(max_length=64)] = ()

    @model_validator(mode="before")
    @classmethod
    def _label(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "label" in values or not isinstance(values.get("name"), str):
            return values
        parts = [values["name"]]
        parts += [f"{values['goal']}"] if values.get("goal", "untargeted") != "untargeted" else []
        parts += [f"{values['norm']}"] if "norm" in values else []
        return {"label": "-".join(parts), **values}

    @property
    def parameters(self) -> dict[str, Any]:
        """What `attacks.catalog.make_attack` takes beside name and eps; unset keys are left to the attack."""
        return dict(self.model_extra or {})

    @property
    def seed(self) -> int:
        """Of everything random."""
        return int(self.parameters.get("seed", 0))

    @property
    def budgets(self) -> tuple[float | None, ...]:
        """The epsilons, or None once for an attack without a budget."""
        return self.epsilons or (None,)

    def folder(self, epsilon: float | None) -> str:
        """Return the name of the folder of one budget's results."""
        return self.label if epsilon is None else f"{self.label}-{epsilon!r}"

    @model_validator(mode="after")
    def _fits(self) -> AttackConfig:
        # torch comes with it, which commands that read no configuration needn't load.
        from attacks.catalog import ATTACKS, make_attack

        if self.name in ATTACKS:
            _check_keys(self.name, self.parameters, [item.name for item in fields(ATTACKS[self.name])])
        if len(set(self.epsilons)) != len(self.epsilons):
            raise ValueError("an epsilon is there twice")
        for epsilon in self.budgets:
            try:
                make_attack(self.name, **({} if epsilon is None else {"eps": epsilon}), **self.parameters)
            except BitsiegeError as error:
                raise ValueError(f"{error.message}; {error.hint}" if error.hint else error.message) from error
        return self


def _check_keys(name: str, parameters: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse a key that is neither the table's nor a parameter of the attack, with the nearest one."""
    keys = [*_OWN, *(key for key in known if key != "eps")]
    for key in parameters:
        if key not in keys:
            near = get_close_matches(key, keys, n=1, cutoff=0.5)
            guess = f"did you mean {near[0]}?" if near else f"known: {', '.join(keys)}"
            raise ValueError(f"{name} has no parameter {key!r}; {guess}")
