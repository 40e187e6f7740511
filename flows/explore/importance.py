"""How much each dimension of a study explains of accuracy and cost."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from flows.explore.settings import Objective
from flows.explore.storage import counts, optuna

FEWEST = 4
"""Networks below which nothing is said."""


def importance(study: Any, objectives: Sequence[Objective]) -> dict[str, dict[str, float]]:
    """By objective, the share of its variance over the trained networks that each dimension explains.

    By fANOVA (Hutter, Hoos, Leyton-Brown, "An efficient approach for assessing hyperparameter importance", ICML 2014),
    as Optuna computes it. The accuracy is that of networks that were trained to the end; the cost also that of those
    that were stopped. An objective that has one value everywhere, or too few networks, is left out.
    """
    package = optuna()
    found = {}
    for i, objective in enumerate(objectives):

        def value(trial: Any, i: int = i) -> float:
            attrs = trial.user_attrs
            fits = counts(trial) and attrs.get("accuracy") is not None and attrs.get("excess", 0) <= 0
            return float(trial.values[i]) if fits and not (i == 0 and attrs.get("stopped")) else math.nan

        values = _finite(study, value)
        if len(values) >= FEWEST and len(set(values)) > 1:
            evaluator = package.importance.FanovaImportanceEvaluator(seed=0)
            shares = package.importance.get_param_importances(study, evaluator=evaluator, target=value)
            found[str(objective)] = {name: float(share) for name, share in shares.items()}
    return found


def _finite(study: Any, value: Callable[[Any], float]) -> list[float]:
    complete = optuna().trial.TrialState.COMPLETE
    values = (value(trial) for trial in study.get_trials(deepcopy=False, states=(complete,)))
    return [each for each in values if math.isfinite(each)]
