"""Studies: networks that were tried, in a storage that many workers share."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.explore.cluster import RayCluster, work_on_ray
from flows.explore.settings import LARGEST, Settings, code_version, read_settings, write_settings
from flows.explore.space import Params, Space, params_key
from flows.explore.storage import absolute, counts, load_study
from flows.explore.trial import Trials
from flows.explore.work import work
from flows.explore.worker import work_in_processes
from hw.host.errors import UsageError

UNIFORM = (1, 1), (2, 2), (4, 4), (8, 8)
"""Widths of weights and activations of the networks that a study begins with."""
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


class Study:
    """A study in a folder, as ``explore`` leaves it.

    Raises UsageError for a folder without one, and BitfabricError for a storage that cannot be reached.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.settings = read_settings(self.folder)
        self._study = load_study(self.folder, self.settings, self.settings.seed)

    @property
    def trials(self) -> list[Tried]:
        """All networks so far, in order."""
        return [_tried(trial, self.folder) for trial in self._study.get_trials(deepcopy=False) if counts(trial)]

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
    jobs: int | RayCluster = 1,
    storage: str | None = None,
    **settings: Any,
) -> Study:
    """Searches for the networks of a ``space`` with the best accuracy for their cost on a target.

    ``model`` is a name as ``tfc-w4a4``, whose widths hold where the space chooses none. ``settings`` are those of
    ``Settings``: ``fps``, ``objectives``, ``trials``, ``epochs``, ``validation``, ``limits``, ``min_accuracy``,
    ``seed``. ``storage``: URL of a database or of a server of one (``grpc://host:port``); None: a journal in ``out``.
    ``jobs``: processes on this machine, or workers on a Ray cluster.

    Every network is costed before it is trained (``CostTable``); what does not fit is never trained. A space of at most
    ``trials`` networks is tried completely; else the search begins with uniform widths and goes on with Optuna's
    multi-objective TPE. The folder ``out`` holds ``study.json``, the storage, and in ``trials`` a run folder
    for each network. Where it holds the same study, the search goes on; ``trials`` may have grown.

    Raises UsageError for settings out of range, for another study in ``out``, and for limits that no network of the
    space reaches (with the nearest); BitfabricError where the first trials all fail, and for a storage or a cluster
    that cannot be reached.
    """
    folder = Path(out)
    if isinstance(jobs, int) and jobs < 1:
        raise UsageError(f"--jobs {jobs} is not at least 1")
    wanted = Settings(
        model=model, target=target, data=data, space=space, storage=absolute(storage), code=code_version(), **settings
    )
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
    if isinstance(jobs, RayCluster):
        work_on_ray(jobs, folder)
    elif jobs > 1:
        work_in_processes(folder, jobs)
        work(folder, 0, networks)  # what a worker that was killed has left
    else:
        work(folder, 0, networks)
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
