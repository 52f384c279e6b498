"""An attack in a configuration file: its name, its budgets, and whatever parameters that attack has.

Runs and campaigns have one description. It is checked by making the attack, at each of its budgets, before
anything starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from bitsiege.tomlfile import Name
from export.errors import BitsiegeError

Epsilon = Annotated[float, Field(gt=0)]
_NESTED = "parameters"
_TYPES: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    float | None: "a number",
    int | None: "a whole number",
}


class AttackTable(BaseModel):
    """One attack, at each of its budgets.

    All other keys of the table are parameters of the attack, such as ``steps`` of ``pgd``. They may also
    stand in a table of their own, ``parameters = { steps = 20 }``.

    Attributes:
        name: Name in `attacks.catalog.ATTACKS`.
        epsilons: Budgets in the unit of the attack's norm; none for an attack that looks for the smallest
            change.
        label: Name in folders and reports; two tables need different ones. Without it the attack's name and,
            where they are not the usual ones, its goal and norm.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False, validate_default=True)
    elsewhere: ClassVar[Mapping[str, str]] = {"eps": "epsilons"}
    """Parameters that another key of the table stands for."""

    label: Name
    name: str
    epsilons: Annotated[tuple[Epsilon, ...], Field(max_length=64)] = ()

    @model_validator(mode="before")
    @classmethod
    def _flatten(cls, values: Any) -> Any:
        """Put nested parameters beside the others, and name the table."""
        if not isinstance(values, dict) or not isinstance(values.get("name"), str):
            return values
        flat: dict[str, Any] = {key: value for key, value in values.items() if key != _NESTED}
        nested = values.get(_NESTED, {})
        if not isinstance(nested, dict):
            raise ValueError(f"parameters must be a table, such as {{ steps = 20 }}, not {nested!r:.60}")
        for key, value in nested.items():
            if key in cls.model_fields:
                raise ValueError(f"{key} belongs to the table, not into its parameters")
            if key in flat:
                raise ValueError(f"{key} is there twice, in the table and in its parameters")
            flat[key] = value
        if "label" not in flat:
            goal = flat.get("goal", "untargeted")
            parts = [flat["name"], *([f"{goal}"] if goal != "untargeted" else [])]
            flat["label"] = "-".join([*parts, *([f"{flat['norm']}"] if "norm" in flat else [])])
        return flat

    @property
    def parameters(self) -> dict[str, Any]:
        """What `attacks.catalog.make_attack` takes beside name and eps; unset keys are left to the attack."""
        return dict(self.model_extra or {})

    @property
    def budgets(self) -> tuple[float | None, ...]:
        """The epsilons, or None once for an attack without a budget."""
        return self.epsilons or (None,)

    def arguments(self, epsilon: float | None) -> dict[str, Any]:
        """Return all that `attacks.catalog.make_attack` takes beside the name, at one of the budgets."""
        return self.parameters if epsilon is None else {**self.parameters, "eps": epsilon}

    @model_validator(mode="after")
    def _fits(self) -> AttackTable:
        # torch comes with it, which commands that read no configuration needn't load.
        from attacks.catalog import ATTACKS, make_attack

        if self.name in ATTACKS:
            kind = ATTACKS[self.name]
            hints = get_type_hints(kind)
            self._check_parameters({field.name: hints[field.name] for field in fields(kind)})
        if len(set(self.epsilons)) != len(self.epsilons):
            raise ValueError("an epsilon is there twice")
        for epsilon in self.budgets:
            try:
                make_attack(self.name, **self.arguments(epsilon))
            except BitsiegeError as error:
                raise ValueError(f"{error.message}; {error.hint}" if error.hint else error.message) from error
        return self

    def _check_parameters(self, types: Mapping[str, Any]) -> None:
        """Refuse a parameter that the attack doesn't have, with the nearest one, and one of another type."""
        own = [key for key in type(self).model_fields if key != "label"]
        known = ["label", *own, *(key for key in types if key not in self.elsewhere)]
        for key, value in self.parameters.items():
            if key in self.elsewhere:
                raise ValueError(f"give {self.elsewhere[key]} instead of {key}")
            if key not in types:
                near = get_close_matches(key, known, n=1, cutoff=0.5)
                guess = f"did you mean {near[0]}? " if near else ""
                raise ValueError(
                    f"{self.name} has no parameter {key!r}; {guess}known: {', '.join(dict.fromkeys(known))}"
                )
            if types[key] in _TYPES and not _is_a(types[key], value):
                expected = _TYPES[types[key]]
                raise ValueError(f"{key} of {self.name} must be {expected}, not {value!r:.60}")


class AttackConfig(AttackTable):
    """One attack of a run."""

    @property
    def seed(self) -> int:
        """Of everything random."""
        return int(self.parameters.get("seed", 0))

    def folder(self, epsilon: float | None) -> str:
        """Return the name of the folder of one budget's results."""
        return self.label if epsilon is None else f"{self.label}-{epsilon!r}"


def _is_a(kind: Any, value: object) -> bool:
    """Whether a value is of a type, as TOML writes it: a whole number is a number, true is neither."""
    try:
        TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True
