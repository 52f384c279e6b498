"""What an evaluation of robustness must show, and whether the data of this one show it.

The questions are ours; what they ask for follows Carlini et al., On evaluating adversarial robustness (2019),
sections 3 to 5, and Tramèr et al., On adaptive attacks to adversarial example defenses (NeurIPS 2020). A
report can only see what was computed: an answer is about this evaluation, not about the networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attacks.masking import UNBOUNDED_LIMIT
from bitsiege.report.access import BLACK_BOX, NOISE, TRANSFER, WHITE_BOX
from bitsiege.report.distance import norm_sign
from bitsiege.report.evaluation import Answer, Campaign, CellResult, Item
from bitsiege.report.findingmodels import Findings

# A curve is flat where its last part changes the accuracy by less than this.
_FLAT = 0.01
_LEAST_EPSILONS = 3
_CYCLES = ("cycle-accurate", "hardware")

Verdict = tuple[Answer, str]


def fill_checklist(campaign: Campaign | None, findings: Findings) -> tuple[Item, ...]:
    """Answer every question from the data."""
    cells = [] if campaign is None else [cell for cell in campaign.cells if cell.attacked]
    view = _View(campaign, cells, findings)
    items: list[Item] = []
    for name, question, answer in _QUESTIONS:
        said, evidence = answer(view)
        items.append(Item(name=name, question=question, answer=said, evidence=evidence))
    return tuple(items)


class _View:
    """What the questions look at."""

    def __init__(self, campaign: Campaign | None, cells: list[CellResult], findings: Findings) -> None:
        self.campaign, self.cells, self.findings = campaign, cells, findings
        self.models = [] if campaign is None else [model.name for model in campaign.models]

    def of(self, model: str) -> list[CellResult]:
        """The cells of one model."""
        return [cell for cell in self.cells if cell.model == model]

    def every_model(self, fits: Callable[[list[CellResult]], bool], yes: str, no: str) -> Verdict:
        """Answer yes if each model's cells fit, and name those that don't."""
        if not self.cells:
            return "not shown", "no attack has a result"
        failing = [model for model in self.models if not fits(self.of(model))]
        return ("no", f"{no}: {', '.join(failing)}") if failing else ("yes", yes)


def _threat_model(view: _View) -> Verdict:
    if not view.cells:
        return "not shown", "no attack has a result"
    goals = sorted({str(cell.parameters.get("goal", "untargeted")) for cell in view.cells})
    access = _names(cell.access for cell in view.cells)
    parts: list[str] = []
    for norm in dict.fromkeys(cell.norm for cell in view.cells):
        epsilons = sorted({c.epsilon for c in view.cells if c.norm == norm and c.epsilon is not None})
        budget = ", ".join(f"{epsilon:g}" for epsilon in epsilons) or "no budget"
        parts.append(f"{norm_sign(norm)}: {budget}")
    return "yes", f"{'; '.join(parts)}; attacker: {access}; goal: {', '.join(goals)}; images of 8 bits"


def _clean(view: _View) -> Verdict:
    known = [] if view.campaign is None else [model for model in view.campaign.models if model.clean]
    if not known:
        return "not shown", "no attack has a result"
    return "yes", "; ".join(
        f"{model.name} {100 * clean.accuracy:.1f} % of {clean.images:,}"
        for model in known
        if (clean := model.clean) is not None
    )


def _several(view: _View) -> Verdict:
    names = sorted({cell.attack for cell in view.cells if cell.access != NOISE})
    return view.every_model(
        lambda cells: len({cell.attack for cell in cells if cell.access != NOISE}) > 1,
        ", ".join(names),
        "one attack at most",
    )


def _grid(view: _View) -> Verdict:
    return view.every_model(
        lambda cells: any(cell.float_success is None and cell.access == WHITE_BOX for cell in cells),
        "white-box attacks that stay on the 8-bit grid are among them",
        "no white-box attack on the 8-bit grid",
    )


def _gradients(view: _View) -> Verdict:
    settings = ("estimator", "scaling", "temperature", "objective")

    def varied(cells: list[CellResult]) -> bool:
        white = [cell for cell in cells if cell.access == WHITE_BOX]
        return any(
            len({str(cell.parameters.get(name)) for cell in white} - {"None"}) > 1 for name in settings
        )

    if view.cells and all(varied(view.of(model)) for model in view.models):
        return "yes", "attacks differ in estimator, scale or objective of their gradients"
    if view.findings.masking:
        return "yes", "the masking checks compare estimators and logit scales"
    return view.every_model(varied, "", "all gradients from one estimator, scale and objective")


def _masking(view: _View) -> Verdict:
    found = view.findings.masking
    if not found:
        return "not shown", "no masking file; bitsiege masking writes one"
    masked = [item for item in found if item.masked]
    return ("no" if masked else "yes"), "; ".join(
        f"{item.model}: {item.sentence}" for item in masked or found
    )


def _steps(view: _View) -> Verdict:
    curves: list[tuple[str, list[tuple[float, float]]]] = [
        (f"{item.model}, PGD", sorted(item.curves["steps"]))
        for item in view.findings.masking
        if len(item.curves.get("steps", ())) > 1
    ]
    groups: dict[tuple[str, str, str, float | None, int], dict[float, float]] = {}
    for cell in view.cells:
        own = cell.epsilon is not None and not cell.source
        if own and isinstance(steps := cell.parameters.get("steps"), int):
            key = (cell.model, cell.attack, cell.norm, cell.epsilon, cell.seed)
            curve = groups.setdefault(key, {})
            curve[steps] = min(cell.attacked[0].accuracy, curve.get(steps, 1.0))
    curves += [
        (f"{model}, {attack} ε {epsilon:g}", sorted(curve.items()))
        for (model, attack, _, epsilon, _), curve in groups.items()
        if len(curve) > 1
    ]
    if not curves:
        return "not shown", "no attack ran with several numbers of steps"
    steep = [(name, curve) for name, curve in curves if curve[-2][1] - curve[-1][1] > _FLAT]
    name, curve = steep[0] if steep else curves[0]
    (before, high), (after, low) = curve[-2:]
    evidence = f"{name}: {100 * high:.1f} % after {before:g} steps, {100 * low:.1f} % after {after:g}"
    return ("no" if steep else "yes"), evidence + (f"; {len(steep)} curves still fall" if steep else "")


def _restarts(view: _View) -> Verdict:
    def several(cells: list[CellResult]) -> bool:
        seeds: dict[tuple[str, float | None], set[int]] = {}
        for cell in cells:
            seeds.setdefault((cell.title, cell.epsilon), set()).add(cell.seed)
        restarts = any(int(cell.parameters.get("restarts", 1) or 1) > 1 for cell in cells)
        return restarts or any(len(found) > 1 for found in seeds.values())

    return view.every_model(several, "attacks start several times, or with several seeds", "one start only")


def _black_box(view: _View) -> Verdict:
    names = _names(f"{cell.attack} ({cell.access})" for cell in view.cells if cell.access in BLACK_BOX)
    return view.every_model(
        lambda cells: any(cell.access in BLACK_BOX for cell in cells), names, "no attack by queries"
    )


def _transfer(view: _View) -> Verdict:
    if any(cell.access == TRANSFER for cell in view.cells):
        names = _names(
            f"{cell.attack} from {cell.source}" if cell.source else cell.attack
            for cell in view.cells
            if cell.access == TRANSFER
        )
        return view.every_model(
            lambda cells: any(cell.access == TRANSFER for cell in cells), names, "no images of other models"
        )
    return "not shown", "no images that were crafted on another model"


def _unbounded(view: _View) -> Verdict:
    left = {
        f"{item.model} ({item.file})": item.accuracy["unbounded"]
        for item in view.findings.masking
        if "unbounded" in item.accuracy
    }
    for cell in view.cells:
        free = cell.epsilon is None or (cell.norm in ("linf", "l0") and cell.epsilon >= 1)
        if free and str(cell.parameters.get("goal", "untargeted")) == "untargeted":
            accuracy = cell.attacked[0].accuracy
            left[cell.model] = min(accuracy, left.get(cell.model, 1.0))
    if not left:
        return "not shown", "no attack without a budget"
    evidence = ", ".join(f"{100 * accuracy:.1f} % left of {name}" for name, accuracy in left.items())
    return ("yes" if max(left.values()) <= UNBOUNDED_LIMIT else "no"), evidence


def _curve(view: _View) -> Verdict:
    def enough(cells: list[CellResult]) -> bool:
        epsilons: dict[str, set[float | None]] = {}
        for cell in cells:
            epsilons.setdefault(cell.title, set()).add(cell.epsilon)
        return any(cell.distances for cell in cells) or any(
            len(found) >= _LEAST_EPSILONS for found in epsilons.values()
        )

    return view.every_model(
        enough,
        f"an attack at {_LEAST_EPSILONS} or more budgets, or over distance",
        f"fewer than {_LEAST_EPSILONS} budgets",
    )


def _per_image(view: _View) -> Verdict:
    if view.campaign is None or not view.campaign.worst:
        return "not shown", "no attack has a result"
    points = [(case, case.points[-1]) for case in view.campaign.worst if case.points]
    evidence = "; ".join(
        f"{case.model} {norm_sign(case.norm)} {point.epsilon:g}: {100 * point.accuracy:.1f} %"
        for case, point in points
    )
    return "yes", evidence or "over distance, in the curves"


def _randomness(view: _View) -> Verdict:
    if view.campaign is None or not view.cells:
        return "not shown", "no attack has a result"
    drawn = [model.name for model in view.campaign.models if model.drawn]
    if not drawn:
        return "does not apply", "no network draws weights"
    missing = [
        model
        for model in drawn
        if not any(int(cell.parameters.get("eot", 1) or 1) > 1 for cell in view.of(model))
    ]
    if missing:
        return "no", f"no gradient is a mean over draws (eot): {', '.join(missing)}"
    return "yes", f"gradients are means over draws: {', '.join(drawn)}"


def _seeds(view: _View) -> Verdict:
    def averaged(cells: list[CellResult]) -> bool:
        seeds: dict[tuple[str, float | None], set[int]] = {}
        for cell in cells:
            seeds.setdefault((cell.title, cell.epsilon), set()).add(cell.seed)
        return any(len(found) > 1 for found in seeds.values())

    return view.every_model(averaged, "attacks ran with several seeds", "one seed only")


def _hardware(view: _View) -> Verdict:
    if view.campaign is None or not view.cells:
        return "not shown", "no attack has a result"
    if view.campaign.divergences:
        return "no", f"{view.campaign.divergences:,} images on which a target differs"
    exact = _names(found.target for cell in view.cells for found in cell.attacked if found.kind in _CYCLES)
    if not exact:
        return "not shown", "no cycle-accurate target and no board took part; 0 divergences among the others"
    return "yes", f"0 divergences, {exact} among the targets"


def _certified(view: _View) -> Verdict:
    if not view.findings.verify:
        return "not shown", "there is no file of bitsiege verify"
    parts = [
        f"{item.counts.get('certified', 0)} of {item.images:,} images certified at ε {item.eps:g}, "
        f"{item.counts.get('unknown', 0)} unknown"
        for item in view.findings.verify
    ]
    certified = any(item.counts.get("certified", 0) for item in view.findings.verify)
    return ("yes" if certified else "no"), "; ".join(parts)


def _finished(view: _View) -> Verdict:
    if view.campaign is None:
        return "not shown", "there is no campaign"
    done, total = view.campaign.shards_done, view.campaign.shards_total
    return ("yes" if view.campaign.finished else "no"), f"{done:,} of {total:,} pieces of work are done"


def _names(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))


_QUESTIONS: Sequence[tuple[str, str, Callable[[_View], Verdict]]] = (
    ("threat model", "Is it said what the attacker sees, wants and may change?", _threat_model),
    ("clean accuracy", "Is the accuracy without attack there?", _clean),
    ("several attacks", "Did every network face more than one attack?", _several),
    ("adaptive: grid", "Do white-box attacks know that images have 8 bits?", _grid),
    ("adaptive: gradients", "Do they try other gradients than the network's own?", _gradients),
    ("adaptive: drawn weights", "Are gradients means over the draws of drawn weights?", _randomness),
    ("gradients not masked", "Do attacks that ought to be stronger turn out stronger?", _masking),
    ("enough steps", "Does the accuracy stay the same with more steps?", _steps),
    ("restarts", "Did attacks start more than once?", _restarts),
    ("black box", "Was every network attacked by queries too?", _black_box),
    ("transfer", "Were images of one network tried on another?", _transfer),
    ("without a budget", "Does an attack that may change everything break everything?", _unbounded),
    ("several budgets", "Is there a curve over the budget?", _curve),
    ("worst case of each image", "Does an image count as lost if any attack breaks it?", _per_image),
    ("randomness averaged", "Did random attacks run with several seeds?", _seeds),
    ("same on hardware", "Do all targets give the same logits, a cycle-accurate one among them?", _hardware),
    ("certified", "Is there a proof for what attacks could not break?", _certified),
    ("finished", "Is everything computed that was planned?", _finished),
)
