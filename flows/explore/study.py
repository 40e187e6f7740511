"""Studies: networks that were tried, in a storage that many workers share."""

import os
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flows.build_report import PAGE
from flows.config import STEPS
from flows.explore.cluster import RayCluster, work_on_ray
from flows.explore.finish import Finish, Finished, Finisher, read_finished
from flows.explore.first import first_networks, sensitive_networks
from flows.explore.importance import importance
from flows.explore.page import facts_of
from flows.explore.settings import (
    LARGEST,
    SETTINGS,
    Settings,
    check_code,
    code_version,
    from_anywhere,
    read_settings,
    write_settings,
)
from flows.explore.space import Space
from flows.explore.storage import absolute, counts, load_study
from flows.explore.trial import Trials
from flows.explore.tried import Tried, front, representatives, tried
from flows.explore.work import work
from flows.explore.worker import work_in_processes
from flows.report.study import write
from hw.host.errors import UsageError

PROBED = 100
"""Random networks whose cost is compared with limits that the smallest network misses."""


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
        return [tried(trial, self.folder) for trial in self._study.get_trials(deepcopy=False) if counts(trial)]

    @property
    def front(self) -> list[Tried]:
        """The trained networks that no other one beats in both objectives, the cheapest first."""
        return front(self.trials, self.settings.objectives[1])

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

        found = self._trained([number])[0]
        assert found.folder is not None, "a trained network has a run folder"
        place = self.folder / "builds" / f"{number:04}" if out is None else Path(out)
        own = self.settings.build_options()
        if {"folding", "fill", "fps"} & options.keys():
            own = {name: value for name, value in own.items() if name not in ("fps", "fill")}
        return build(found.folder / "model.onnx", target=self.settings.target, out=place, **{**own, **options})

    def finish(
        self,
        networks: int | Sequence[int],
        *,
        seeds: int = 3,
        epochs: int | None = None,
        stop_after: str = STEPS[-1],
        told: Callable[[str], None] | None = None,
    ) -> list[Finished]:
        """Trains networks in full with several seeds, builds them, and measures what the search estimated.

        ``networks``: how many of the front, those that together stand for it best (``representatives``, the most
        accurate one always among them), or their numbers. ``seeds``: trainings of each, with the study's own seed and
        those after it. ``epochs``: None: the last of the study's. ``stop_after``: the last step of the builds, as for
        ``flows.build``. ``told`` is called with a line for each step.

        Of the seeds, the network with the best accuracy on validation frames is built; accuracies on the test set are
        measured here and choose nothing. An interrupted call is repeated: what is done is not done again. A network
        that fails does not end the others (``Finished.why``).

        Raises UsageError for a study without trained networks, and for numbers of none; BitfabricError where this
        version is not the study's, and while another process finishes its networks.
        """
        if isinstance(networks, int):
            if networks < 1:
                raise UsageError(f"--finish {networks} is not at least 1")
            front = self.front
            if not front:
                raise UsageError(f"{self.folder} holds no trained network yet: go on with the search before")
            sign = -1 if self.settings.objectives[1] in LARGEST else 1
            points = [(sign * each.values[1], each.values[0]) for each in front]
            chosen = [front[i] for i in representatives(points, networks)]
        else:
            chosen = self._trained(networks)
        how = Finish(seeds, self.settings.epochs[-1] if epochs is None else epochs, stop_after)
        check_code(self.settings)
        return Finisher(self.folder, self.settings, how, told or (lambda _: None)).finish(chosen)

    @property
    def finished(self) -> list[Finished]:
        """The networks that ``finish`` has measured, by number."""
        return read_finished(self.folder)

    def write_report(self, out: str | os.PathLike[str] | None = None) -> Path:
        """Writes the page of the study, by default ``report.html`` in its folder; returns the path.

        It has the front, what was refused, the importance of the dimensions, the lookup tables by layer, finished
        networks, and the commands that make each network again. Raises UsageError where the file cannot be written.
        """
        facts = facts_of(
            self.settings, self.trials, self.finished, importance(self._study, self.settings.objectives)
        )  # fmt: skip
        return write(facts, self.folder / PAGE if out is None else Path(out))

    def _trained(self, numbers: Sequence[int]) -> list[Tried]:
        """The networks of these numbers. Raises UsageError for one that was not trained."""
        known = {each.number: each for each in self.trials}
        for number in numbers:
            found = known.get(number)
            if found is None or found.folder is None or not (found.folder / "model.onnx").is_file():
                raise UsageError(f"number {number} of {self.folder} was not trained: take one of the front")
        return [known[number] for number in numbers]


def explore(
    model: str,
    target: str,
    out: str | os.PathLike[str],
    space: Space,
    *,
    data: str = "digits",
    jobs: int | RayCluster = 1,
    start_from: str | os.PathLike[str] | None = None,
    storage: str | None = None,
    **settings: Any,
) -> Study:
    """Searches for the networks of a ``space`` with the best accuracy for their cost on a target.

    ``model`` is a name as ``tfc-w4a4``, whose widths hold where the space chooses none. ``settings`` are those of
    ``Settings``: ``data_options``, ``fps``, ``clock_mhz``, ``objectives``, ``trials``, ``epochs``, ``validation``,
    ``augment``, ``limits``, ``min_accuracy``, ``seed``. ``storage``: URL of a database or of a server of one
    (``grpc://host:port``); None: a journal in ``out``. ``jobs``: processes on this machine, or workers on a Ray
    cluster. ``start_from``: a run folder of the network, from the front of whose ``sensitivity`` the search begins too
    (``first.sensitive_networks``).

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
    known = read_settings(folder) if (folder / SETTINGS).is_file() else None
    wanted = Settings(
        model=from_anywhere(model), target=target, data=from_anywhere(data), space=space, storage=absolute(storage),
        code=code_version(), id=known.id if known else uuid.uuid4().hex, **settings,
    )  # fmt: skip
    if known is not None:
        check_code(known)
        differ = wanted.same_search(known)
        if differ:
            raise UsageError(
                f"{folder} holds a study with other settings ({', '.join(differ)}): repeat its own, or choose "
                "another -o"
            )
    networks = Trials(wanted)
    _check_limits(networks)
    if wanted.storage is not None:
        load_study(folder, wanted, wanted.seed)  # one that cannot be used leaves no study behind
    write_settings(folder, wanted)
    _enqueue_first(Study(folder)._study, networks, start_from)
    if isinstance(jobs, RayCluster):
        work_on_ray(jobs, folder)
    elif jobs > 1:
        work_in_processes(folder, jobs)
        work(folder, 0, networks)  # what a worker that was killed has left
    else:
        work(folder, 0, networks)
    return Study(folder)


def _enqueue_first(study: Any, networks: Trials, start_from: str | os.PathLike[str] | None) -> None:
    """Enqueues the networks that the study begins with; those that it has are skipped, be it that an earlier call was
    interrupted, or that it had fewer ``trials`` than the space has networks."""
    trials, dimensions = networks.settings.trials, networks.dimensions
    run = None if start_from is None or dimensions.size <= trials else str(Path(start_from).resolve())
    started = study.user_attrs.get("started_from", [])
    starting = [] if run is None or run in started else sensitive_networks(run, networks)
    first = first_networks(dimensions, trials)
    for params in (*first[: max(0, trials - len(starting))], *starting):
        study.enqueue_trial(params, skip_if_exists=True)
    if starting:
        study.set_user_attr("started_from", [*started, run])


def _check_limits(networks: Trials) -> None:
    """Raises UsageError where no network of the space is within the limits, as far as trying tells."""
    smallest = networks.cost(networks.dimensions.smallest())
    if not smallest.excess:
        return
    nearest, count = smallest, 1
    for params in networks.dimensions.some(PROBED, networks.settings.seed):
        cost = networks.cost(params)
        if not cost.excess:
            return
        nearest, count = min(nearest, cost, key=lambda each: each.excess), count + 1
    raise UsageError(
        f"no network of the space is within the limits on {networks.settings.target}; the nearest of {count} that "
        f"were tried misses them: {nearest.why}; allow that much, or add fewer bits and smaller widths to the space"
    )
