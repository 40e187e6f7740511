"""Studies: networks that were tried, in a storage that many workers share."""

import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.explore.leases import abandoned, leased
from flows.explore.settings import LARGEST, Settings, check_code, code_version, read_settings, write_settings
from flows.explore.space import Params, Space, params_key
from flows.explore.trial import Trials
from hw.host.errors import BitfabricError, UsageError
from hw.native.process import Process

NAME = "bitfabric"
UNIFORM = (1, 1), (2, 2), (4, 4), (8, 8)
"""Widths of weights and activations of the networks that a study begins with."""
ASKED = 20
"""Networks that are proposed at most for each one that is trained."""
PROBED = 100
"""Random networks whose cost is compared with limits that the smallest network misses."""


@dataclass(frozen=True)
class Tried:
    """A network of a study.

    ``state``: "trained"; "stopped" (after a rung, as networks of no more cost are better); "does not fit" (never
    trained, or over a limit afterwards); "failed"; "running"; "waiting". ``values``: of the objectives; ``hardware``:
    as estimated. ``folder``: its run folder, if it was trained.
    """

    number: int
    params: Params
    state: str
    accuracy: float | None
    values: tuple[float, ...]
    hardware: Mapping[str, float]
    why: str
    folder: Path | None

    def to_json(self) -> dict[str, Any]:
        """The network as values of JSON."""
        return {**vars(self), "params": dict(self.params), "folder": None if self.folder is None else str(self.folder)}


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError:
        raise UsageError("explore needs Optuna: pip install 'bitfabric[explore]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


class Study:
    """A study in a folder, as ``explore`` leaves it.

    Raises UsageError for a folder without one, and BitfabricError for a storage that cannot be reached.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.settings = read_settings(self.folder)
        self._study = self._load(seed=self.settings.seed)

    def _load(self, seed: int) -> Any:
        """The study in the storage, which is made if there is none."""
        optuna = _optuna()
        url = self.settings.storage
        try:
            if url is None:
                backend = optuna.storages.journal.JournalFileBackend(str(self.folder / "journal.log"))
                storage = optuna.storages.JournalStorage(backend)
            else:
                storage = optuna.storages.RDBStorage(url)
            directions = ["maximize" if each in LARGEST else "minimize" for each in self.settings.objectives]
            sampler = optuna.samplers.TPESampler(multivariate=True, seed=seed)
            return optuna.create_study(
                storage=storage, study_name=NAME, directions=directions, sampler=sampler, load_if_exists=True
            )
        except Exception as error:  # each driver of a database has errors of its own
            place = url or self.folder / "journal.log"
            raise BitfabricError(
                f"the storage {place} cannot be used: {(str(error) or type(error).__name__).splitlines()[0]}; "
                "give the URL of a database that is there, as sqlite:///study.db, or leave --storage out"
            ) from None

    @property
    def trials(self) -> list[Tried]:
        """All networks so far, in order."""
        return [_tried(trial, self.folder) for trial in self._study.get_trials(deepcopy=False) if _counts(trial)]

    @property
    def front(self) -> list[Tried]:
        """The trained networks that no other one beats in both objectives, the cheapest first."""
        done = [each for each in self.trials if each.state == "trained"]
        large = self.settings.objectives[1] in LARGEST

        def cost(each: Tried) -> float:
            return -each.values[1] if large else each.values[1]

        kept: list[Tried] = []
        for each in sorted(done, key=lambda each: (cost(each), -each.values[0], params_key(each.params))):
            if not kept or each.values[0] > kept[-1].values[0]:
                kept.append(each)
        return kept

    def best(self, **limits: float) -> Tried:
        """The trained network of the highest accuracy within limits: at least ``fps``, at most ``lut``, ``bram``, ...

        Raises UsageError where there is none; the message has the nearest.
        """
        done = [each for each in self.trials if each.state == "trained"]
        if not done:
            raise UsageError(f"{self.folder} holds no trained network yet")
        for name in limits:
            if name not in done[0].hardware:
                raise UsageError(f"no limit {name}: there are {', '.join(done[0].hardware)}")

        def over(each: Tried) -> float:
            ratios = (
                limit / each.hardware[name] if name == "fps" else each.hardware[name] / max(limit, 1e-9)
                for name, limit in limits.items()
            )
            return max(0.0, max(ratios, default=0.0) - 1)

        fitting = [each for each in done if not over(each)]
        if not fitting:
            nearest = min(done, key=over)
            figures = ", ".join(f"{nearest.hardware[name]:g} {name}" for name in limits)
            raise UsageError(
                f"no network is within these limits; the nearest is number {nearest.number} with {figures}"
            )
        return max(fitting, key=lambda each: (each.values[0], -each.number))

    def build(self, number: int, out: str | os.PathLike[str] | None = None, **options: Any) -> Any:
        """Builds a network with ``flows.build`` for the study's target and rate; ``out``: a folder, by default one
        beside its run. Raises UsageError for a network that was not trained."""
        from flows import build

        found = {each.number: each for each in self.trials}.get(number)
        if found is None or found.folder is None or not (found.folder / "model.onnx").is_file():
            raise UsageError(f"number {number} of {self.folder} was not trained: take one of the front")
        place = self.folder / "builds" / f"{number:04}" if out is None else Path(out)
        rate: dict[str, Any] = {"fill": True} if self.settings.fps is None else {"fps": self.settings.fps}
        return build(found.folder / "model.onnx", target=self.settings.target, out=place, **{**rate, **options})


def _counts(trial: Any) -> bool:
    """Whether a trial stands for a network of its own: no repetition, and none that was taken up again."""
    return not trial.user_attrs.get("again") and trial.user_attrs.get("same_as") is None


def _tried(trial: Any, folder: Path) -> Tried:
    attrs = trial.user_attrs
    state = {"COMPLETE": "trained", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting", "PRUNED": "stopped"}
    name = state[trial.state.name]
    if name == "trained" and attrs.get("excess", 0) > 0:
        name = "does not fit"
    elif name == "trained" and attrs.get("stopped"):
        name = "stopped"
    run = folder / "trials" / f"{trial.number:04}"
    return Tried(
        trial.number,
        trial.params or trial.system_attrs.get("fixed_params", {}),
        name,
        attrs.get("accuracy"),
        tuple(trial.values or ()),
        attrs.get("hardware", {}),
        attrs.get("why", ""),
        run if (run / "metrics.json").is_file() else None,
    )


def explore(
    model: str,
    target: str,
    out: str | os.PathLike[str],
    space: Space,
    *,
    data: str = "digits",
    jobs: int = 1,
    **settings: Any,
) -> Study:
    """Searches for the networks of a ``space`` with the best accuracy for their cost on a target.

    ``model`` is a name as ``tfc-w4a4``, whose widths hold where the space chooses none. ``settings`` are those of
    ``Settings``: ``fps``, ``objectives``, ``trials``, ``epochs``, ``validation``, ``limits``, ``min_accuracy``,
    ``seed``, ``storage``. ``jobs``: processes on this machine.

    Every network is costed before it is trained (``CostTable``); what does not fit is never trained. A space of at most
    ``trials`` networks is tried completely; else the search begins with uniform widths and goes on with Optuna's
    multi-objective TPE. The folder ``out`` holds ``study.json``, the storage, and in ``trials`` a run folder
    for each network. Where it holds the same study, the search goes on; ``trials`` may have grown.

    Raises UsageError for settings out of range, for another study in ``out``, and for limits that no network of the
    space reaches (with the nearest); BitfabricError where the first trials all fail.
    """
    _optuna()
    folder = Path(out)
    if jobs < 1:
        raise UsageError(f"--jobs {jobs} is not at least 1")
    wanted = Settings(model=model, target=target, data=data, space=space, code=code_version(), **settings)
    if (folder / "study.json").is_file():
        differ = wanted.same_search(read_settings(folder))
        if differ:
            raise UsageError(
                f"{folder} holds a study with other settings ({', '.join(differ)}): repeat its own, or choose "
                "another -o"
            )
    networks = Trials(wanted)
    _check_limits(networks)
    write_settings(folder, wanted)
    study = Study(folder)
    if not study._study.get_trials(deepcopy=False):
        for params in _first(networks, wanted):
            study._study.enqueue_trial(params, skip_if_exists=True)
    if jobs == 1:
        work(folder, 0, networks)
    else:
        _in_processes(folder, jobs)
        work(folder, 0, networks)  # what a worker that was killed has left
    return Study(folder)


def _first(networks: Trials, settings: Settings) -> list[dict[str, Any]]:
    """The networks that a study begins with: all, of a small space; else those of uniform widths."""
    dimensions = networks.dimensions
    if dimensions.size <= settings.trials:
        return list(dimensions.every())
    uniform = [dimensions.uniform(*widths) for widths in UNIFORM]
    return [params for i, params in enumerate(uniform) if params not in uniform[:i]]


def _check_limits(networks: Trials) -> None:
    """Raises UsageError where no network of the space is within the limits, as far as trying tells."""
    smallest = networks.cost(networks.dimensions.smallest())
    if not smallest.excess:
        return
    import random

    drawn = random.Random(networks.settings.seed)
    nearest = smallest
    for _ in range(PROBED):
        params = {name: drawn.choice(values) for name, values in networks.dimensions.choices.items()}
        cost = networks.cost(params)
        if not cost.excess:
            return
        nearest = min(nearest, cost, key=lambda each: each.excess)
    raise UsageError(
        f"no network of the space is within the limits on {networks.settings.target}; the nearest of {PROBED + 1} that "
        f"were tried misses them: {nearest.why}; allow that much, or add fewer bits and smaller widths to the space"
    )


def _in_processes(folder: Path, jobs: int) -> None:
    """Runs workers in processes of their own until all have ended; each has a GPU in turn, where there are any."""
    import torch

    gpus = torch.cuda.device_count()
    processes = []
    for index in range(jobs):
        environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        if gpus and "CUDA_VISIBLE_DEVICES" not in os.environ:
            environment["CUDA_VISIBLE_DEVICES"] = str(index % gpus)
        command = [sys.executable, "-m", "flows.explore.worker", str(folder), str(index + 1)]
        processes.append(Process(command, env=environment))
    try:
        for process in processes:
            process.wait()
    except BaseException:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
        raise


def work(folder: Path, index: int, networks: Trials | None = None) -> None:
    """Tries networks of a study until it has as many as it wants. Any number of workers, on any machine that sees the
    folder, may do so at a time.

    Raises BitfabricError where this version is not the study's, and where the first trials of this worker all fail.
    """
    optuna = _optuna()
    states = optuna.trial.TrialState
    settings = read_settings(folder)
    check_code(settings)
    networks = networks or Trials(settings)
    study = Study(folder)._load(seed=settings.seed + index)
    distributions = {
        name: optuna.distributions.CategoricalDistribution(values)
        for name, values in networks.dimensions.choices.items()
    }
    whole = networks.dimensions.size <= settings.trials
    succeeded, failures = False, []
    while True:
        _take_up(study, folder, states)
        every = study.get_trials(deepcopy=False)
        known = [each for each in every if _counts(each)]
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
        study.enqueue_trial(trial.params)


def _try(trial: Any, study: Any, folder: Path, networks: Trials, states: Any) -> None:
    """Costs, trains and measures one network, and tells the study."""
    key = params_key(trial.params)
    trial.set_user_attr("key", key)
    for other in study.get_trials(deepcopy=False):
        if other.number < trial.number and other.user_attrs.get("key") == key and _counts(other):
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
