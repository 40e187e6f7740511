"""The networks of a study as it knows them, and which of them are on the front."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.explore.settings import LARGEST, Objective
from flows.explore.space import Params, params_key


@dataclass(frozen=True)
class Tried:
    """A network of a study.

    ``state``: "trained"; "stopped" (after a rung, as networks of no more cost are better); "does not fit" (never
    trained, or over a limit afterwards); "failed"; "running"; "waiting". ``values``: of the objectives; ``hardware``:
    as estimated; ``layers``: estimated lookup tables by layer, without FIFOs (empty if it was not trained).
    ``excess``: by how much it misses the limits, as a fraction; ``why``: which one, or what failed. ``folder``: its run
    folder, if it was trained.
    """

    number: int
    params: Params
    state: str
    accuracy: float | None
    values: tuple[float, ...]
    hardware: Mapping[str, float]
    layers: Mapping[str, int]
    excess: float
    why: str
    folder: Path | None

    def to_json(self) -> dict[str, Any]:
        """The network as values of JSON."""
        return {**vars(self), "params": dict(self.params), "folder": None if self.folder is None else str(self.folder)}


def tried(trial: Any, folder: Path) -> Tried:
    """The network of a trial of the study in ``folder``."""
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
        attrs.get("layers", {}),
        float(attrs.get("excess", 0.0)),
        attrs.get("why", ""),
        run if (run / "metrics.json").is_file() else None,
    )


def front(networks: Sequence[Tried], objective: Objective) -> list[Tried]:
    """The trained networks that no other one beats in accuracy and in ``objective``, the cheapest first."""
    sign = -1 if objective in LARGEST else 1
    done = [each for each in networks if each.state == "trained"]
    kept: list[Tried] = []
    for each in sorted(done, key=lambda each: (sign * each.values[1], -each.values[0], params_key(each.params))):
        if not kept or each.values[0] > kept[-1].values[0]:
            kept.append(each)
    return kept


def representatives(points: Sequence[tuple[float, float]], count: int) -> list[int]:
    """Which ``count`` points of a front stand for it: their places, increasing.

    ``points`` are (cost, value), both increasing. The last one, of the greatest value, is always among them. Together
    they dominate the largest area that so many points of the front can, above the value of the first point and up to
    the cost of the last one. (Hypervolume subset selection; exact in two dimensions by dynamic programming.)
    """
    total = len(points)
    if count >= total:
        return list(range(total))
    floor = points[0][1]
    # best[i] is the area that the chosen points up to point i dominate, left of the cost of i, and who they are.
    best: dict[int, tuple[float, list[int]]] = {i: (0.0, [i]) for i in range(total)}
    for chosen in range(1, count):
        grown: dict[int, tuple[float, list[int]]] = {}
        for i in range(chosen, total):
            grown[i] = max(
                (
                    (area + (points[j][1] - floor) * (points[i][0] - points[j][0]), [*places, i])
                    for j, (area, places) in best.items()
                    if j < i
                ),
                key=lambda each: each[0],
            )
        best = grown
    return best[total - 1][1]
