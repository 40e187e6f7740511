"""What a worker of a study does: it takes networks from the storage, costs and trains them, and tells the results."""

import math
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.explore.leases import abandoned, leased
from flows.explore.settings import LARGEST, check_code, read_settings
from flows.explore.space import params_key
from flows.explore.storage import counts, load_study, optuna, reachable
from flows.explore.trial import Trials
from hw.host.errors import BitfabricError

ASKED = 20
"""Networks that are proposed at most for each one that is trained."""


def work(folder: Path, index: int, networks: Trials | None = None) -> None:
    """Tries networks of a study until it has as many as it wants. Any number of workers, on any machine that sees the
    folder, may do so at a time.

    Raises BitfabricError where this version is not the study's, and where the first trials of this worker all fail.
    """
    settings = read_settings(folder)
    check_code(settings)
    networks = networks or Trials(settings)
    study = load_study(folder, settings, settings.seed + index)
    with reachable(folder, settings):
        _until_done(study, folder, networks)


def _until_done(study: Any, folder: Path, networks: Trials) -> None:
    """Tries networks until the study has as many as it wants."""
    settings, package = networks.settings, optuna()
    states = package.trial.TrialState
    distributions = {
        name: package.distributions.CategoricalDistribution(values)
        for name, values in networks.dimensions.choices.items()
    }
    whole = networks.dimensions.size <= settings.trials
    succeeded, failures = False, []
    while True:
        _take_up(study, folder, states)
        every = study.get_trials(deepcopy=False)
        known = [each for each in every if counts(each)]
        waiting = any(each.state == states.WAITING for each in known)
        counted = [each for each in known if each.state != states.WAITING and each.user_attrs.get("excess", 0) <= 0]
        asked = sum(each.state != states.WAITING for each in every)
        if not waiting and whole:
            return
        if not whole and (len(counted) >= settings.trials or asked >= ASKED * settings.trials):
            return
        trial = study.ask(distributions)
        with leased(folder, trial.number):
            try:
                trial.set_user_attr("worker", f"{socket.gethostname()}:{os.getpid()}")
                _try(trial, study, folder, networks, states)
                succeeded = True
            except (KeyboardInterrupt, SystemExit):
                trial.set_user_attr("again", True)
                study.tell(trial, state=states.FAIL)
                study.enqueue_trial(trial.params)
                raise
            except Exception as error:  # a failure loses this network only
                why = str(error).splitlines()[0] if str(error) else type(error).__name__
                failures.append(f"number {trial.number}: {why}")
                trial.set_user_attr("why", why)
                study.tell(trial, state=states.FAIL)
        if not succeeded and len(failures) >= 3:
            raise BitfabricError(f"the first networks of the study all fail, {failures[0]}")


def _take_up(study: Any, folder: Path, states: Any) -> None:
    """Enqueues the networks again whose workers have ended without a result."""
    for trial in study.get_trials(deepcopy=False, states=(states.RUNNING,)):
        started = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
        if not abandoned(folder, trial.number, started):
            continue
        try:
            study._storage.set_trial_user_attr(trial._trial_id, "again", True)
            study.tell(trial.number, state=states.FAIL)
        except Exception:  # another worker was first; each storage has an error of its own for that
            continue
        study.enqueue_trial(trial.system_attrs.get("fixed_params", {}) | trial.params)  # it may not have had all yet


def _try(trial: Any, study: Any, folder: Path, networks: Trials, states: Any) -> None:
    """Costs, trains and measures one network, and tells the study."""
    key = params_key(trial.params)
    trial.set_user_attr("key", key)
    for other in study.get_trials(deepcopy=False):
        if other.number < trial.number and other.user_attrs.get("key") == key and counts(other):
            if other.state == states.COMPLETE:
                trial.set_user_attr("same_as", other.number)
                for name, value in other.constraints.items():
                    trial.set_constraint(name, value)
                study.tell(trial, list(other.values))
                return
            if other.state == states.RUNNING:
                trial.set_user_attr("same_as", other.number)
                study.tell(trial, state=states.FAIL)
                return
    cost = networks.cost(trial.params)
    trial.set_user_attr("proxy", {"lut": cost.lut, "bram": cost.bram, "interval": cost.interval})
    if cost.excess:
        trial.set_constraint("hardware", cost.excess)
        trial.set_user_attr("excess", cost.excess)
        trial.set_user_attr("why", cost.why)
        trial.set_user_attr("hardware", {"lut": cost.lut, "bram": cost.bram, "fps": cost.fps})
        study.tell(trial, list(networks.missed(cost)))
        return
    run = folder / "trials" / f"{trial.number:04}"
    frames = max(1, round(networks.settings.validation * len(networks.dataset.x_train)))
    rungs: list[float] = []
    for rung, epochs in enumerate(networks.settings.epochs):
        reached = networks.train(trial.params, run, epochs)
        rungs.append(reached.accuracy)
        trial.set_user_attr("rungs", rungs)
        last = rung == len(networks.settings.epochs) - 1
        if reached.excess or (not last and _beaten(study, trial.number, rung, reached.values, frames, networks)):
            trial.set_user_attr("stopped", not last)
            break
    trial.set_user_attr("accuracy", reached.accuracy)
    trial.set_user_attr("hardware", dict(reached.hardware))
    trial.set_user_attr("layers", dict(reached.layers))
    trial.set_user_attr("excess", reached.excess)
    trial.set_user_attr("why", reached.why)
    trial.set_constraint("hardware", reached.excess or -1.0)
    study.tell(trial, list(reached.values))


def _beaten(study: Any, number: int, rung: int, values: Sequence[float], frames: int, networks: Trials) -> bool:
    """Whether another network of no more cost was better at this rung by more than the noise of so many frames."""
    accuracy, cost = values
    noise = 2 * math.sqrt(max(accuracy * (1 - accuracy), 1e-4) / frames)
    sign = -1 if networks.settings.objectives[1] in LARGEST else 1
    for other in study.get_trials(deepcopy=False):
        before = other.user_attrs.get("rungs", [])
        if other.number == number or len(before) <= rung or not other.values or other.user_attrs.get("excess", 0) > 0:
            continue
        if sign * other.values[1] <= sign * cost and before[rung] > accuracy + noise:
            return True
    return False
