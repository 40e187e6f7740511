"""Workers of a study on a Ray cluster."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.explore.leases import EXPIRES, RENEWED, abandoned
from flows.explore.settings import read_settings
from flows.explore.storage import load_study, optuna, reachable
from flows.explore.work import work
from hw.host.errors import BitfabricError, UsageError
from quant.errors import QuantError

LOST = 3
"""Workers that may be lost for each one of the cluster before the search ends."""
CONNECTS, CANCELS = 10.0, 60.0
"""Seconds within which a cluster answers, and within which its workers end when the search is interrupted."""


@dataclass(frozen=True)
class RayCluster:
    """A Ray cluster, and the workers on it.

    ``workers``: how many; None: as many as the cluster has room for. ``address``: ``host:port`` or ``ray://host:port``;
    None: that in ``RAY_ADDRESS``, or a cluster that runs on this machine, or else one that is started here and ends
    with the search. ``cpus``, ``gpus``: of each worker; ``gpus`` may be a fraction; None: 1 if a node has GPUs, else 0.

    Raises UsageError for numbers out of range.
    """

    workers: int | None = None
    address: str | None = None
    cpus: int = 1
    gpus: float | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"--jobs ray:{self.workers} is not at least ray:1")
        if self.cpus < 1:
            raise UsageError(f"--ray-cpus {self.cpus} is not at least 1")
        if self.gpus is not None and (self.gpus < 0 or (self.gpus > 1 and self.gpus != int(self.gpus))):
            raise UsageError(f"--ray-gpus {self.gpus:g} is neither a fraction of a GPU nor a number of GPUs")


def work_on_ray(cluster: RayCluster, folder: Path) -> None:
    """Runs workers of the study in ``folder`` on a Ray cluster until the study has all of its networks.

    Every node sees the folder under the same name. A worker that is lost, with its node or alone, is replaced by a new
    one, and the network that it had is tried again when its lease has ended.

    Raises UsageError where Ray is not installed, BitfabricError for a cluster that cannot be reached, that no worker
    fits, or whose workers fail.
    """
    ray = _ray()
    with _connected(ray, cluster.address):
        count, options = _placed(ray.nodes(), cluster)
        run = ray.remote(_work).options(max_retries=0, **options)
        pool = _Pool(ray, run, str(folder.resolve()))
        pool.run(count)
        while pool.lost and _left_over(folder):
            pool.run(1)


def _ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError:
        raise UsageError("--jobs ray needs Ray: pip install 'bitfabric[explore]'") from None
    return ray


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Context with a connection to a cluster; one that was there before is left open."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    place = address or os.environ.get("RAY_ADDRESS") or "auto"
    handler = signal.getsignal(signal.SIGTERM)
    try:
        _check_answers(place)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # Ray has errors of many types for that, some of several lines
        text = (str(error) or type(error).__name__).splitlines()[0]
        raise BitfabricError(
            f"the Ray cluster {place} cannot be used: {text}; start one with ray start --head, and give its address"
        ) from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)  # Ray's own aborts the process, whose workers would go on
    try:
        yield
    finally:
        ray.shutdown()


def _check_answers(place: str) -> None:
    """Raises OSError where nothing answers at an address: Ray itself would try for minutes."""
    host, _, port = place.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECTS).close()


def _placed(nodes: list[dict[str, Any]], cluster: RayCluster) -> tuple[int, dict[str, Any]]:
    """The number of workers, and what Ray gives each: CPUs and GPUs."""
    held = [(each["Resources"].get("CPU", 0.0), each["Resources"].get("GPU", 0.0)) for each in nodes if each["Alive"]]
    gpus = cluster.gpus if cluster.gpus is not None else float(any(there for _, there in held))
    room = sum(int(min(cpu // cluster.cpus, gpu // gpus if gpus else cpu)) for cpu, gpu in held)
    if not room:
        have = ", ".join(f"{cpu:g} CPUs and {gpu:g} GPUs" for cpu, gpu in held)
        raise BitfabricError(
            f"no node of the Ray cluster has the {cluster.cpus} CPUs and {gpus:g} GPUs of a worker: they have {have}; "
            "lower --ray-cpus and --ray-gpus, or start a larger node"
        )
    # The libraries take as many threads as Ray gives CPUs: Ray sets OMP_NUM_THREADS where it is not set.
    return cluster.workers or room, {"num_cpus": cluster.cpus, "num_gpus": gpus}


def _work(folder: str, index: int, place: str) -> str | None:
    """One worker, on any node; returns what is wrong in one line. ``place``: the folder in which the search began."""
    if Path(place).is_dir():
        os.chdir(place)  # a path of the data may be relative to it
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a cluster started in the background ignores it
    try:
        work(Path(folder), index)
    except (BitfabricError, QuantError, OSError) as error:
        return f"{socket.gethostname()}: {error}"
    return None


class _Pool:
    """Workers of a study in ``folder`` as tasks of Ray (``run``); ``lost``: those that ended without a result."""

    def __init__(self, ray: Any, run: Any, folder: str) -> None:
        self.ray, self.make, self.folder = ray, run, folder
        self.lost = self.started = 0

    def run(self, count: int) -> None:
        """Runs ``count`` workers until all have ended. Raises BitfabricError where none of them could work."""
        running = [self._start() for _ in range(count)]
        failures: list[str] = []
        most = self.lost + LOST * count
        try:
            while running:
                [ended], running = self.ray.wait(running, num_returns=1)
                try:
                    failure = self.ray.get(ended)
                except self.ray.exceptions.RayTaskError as error:
                    failure = _last_line(error)
                except self.ray.exceptions.RayError as error:
                    self.lost += 1
                    if self.lost > most:
                        raise BitfabricError(f"the Ray cluster loses its workers: {_last_line(error)}") from None
                    running.append(self._start())
                    continue
                if failure is not None:
                    failures.append(failure)
        except BaseException:
            for each in running:
                self.ray.cancel(each)  # an interrupt, on which a worker gives its network back
            self.ray.wait(running, num_returns=len(running), timeout=CANCELS)
            raise
        if len(failures) == count:
            raise BitfabricError(f"no worker of the Ray cluster can work on the study: {failures[0]}")
        for each in failures:
            print(f"error: worker on {each}", file=sys.stderr)

    def _start(self) -> Any:
        self.started += 1  # each worker draws its own networks
        return self.make.remote(self.folder, self.started, str(Path.cwd()))


def _last_line(error: Exception) -> str:
    """What an error of Ray is about: the last line of its text, which begins with traces."""
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)


def _left_over(folder: Path) -> bool:
    """Whether a network has lost its worker; waits until that is known, at most as long as a lease may be."""
    settings = read_settings(folder)
    running = (optuna().trial.TrialState.RUNNING,)
    until = time.monotonic() + EXPIRES + RENEWED
    with reachable(folder, settings):
        study = load_study(folder, settings, settings.seed)
        while (left := study.get_trials(deepcopy=False, states=running)) and time.monotonic() < until:
            if any(abandoned(folder, each.number, each.datetime_start.timestamp()) for each in left):
                return True
            time.sleep(1.0)
    return False
