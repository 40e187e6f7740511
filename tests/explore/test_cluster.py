"""Studies whose workers and storage are elsewhere: on a Ray cluster, and behind a server of gRPC."""

import json
import os
import signal
import socket
import threading
import time

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from flows.explore import storage
from flows.explore.cluster import RayCluster
from flows.explore.settings import Settings
from flows.explore.space import Space
from flows.explore.study import Study, explore
from hw.host.errors import BitfabricError

MODEL, TARGET = "tfc-w4a4", "ulx3s-25f"
SPACE = Space(bits=(2, 4), uniform=True, options={"hidden": ([8], [10, 6])})
SETTINGS = {"fps": 100_000.0, "trials": 4, "epochs": (1,), "validation": 0.2}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return explore(MODEL, TARGET, tmp_path_factory.mktemp("alone"), SPACE, **SETTINGS)


def points(study):
    return [(each.params, each.values, dict(each.hardware)) for each in study.front]


def workers(study):
    return {each.user_attrs["worker"] for each in study._study.get_trials() if "worker" in each.user_attrs}


@pytest.fixture
def nodes(monkeypatch):
    """A Ray cluster of two nodes of one CPU, and its address."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


def test_ray_has_the_same_front_with_a_worker_lost(alone, nodes, tmp_path):
    """The first worker that begins with a network is killed."""
    folder, killed = tmp_path / "study", []

    def kill():
        while not killed:
            for lease in sorted(folder.glob("leases/*")):
                try:
                    killed.append(json.loads(lease.read_text())["pid"])
                except (OSError, ValueError):  # not written yet, or gone
                    continue
                os.kill(killed[0], signal.SIGKILL)
                return
            time.sleep(0.01)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    study = explore(MODEL, TARGET, folder, SPACE, jobs=RayCluster(address=nodes), **SETTINGS)
    thread.join()
    assert points(study) == points(alone)
    own, lost = (f"{socket.gethostname()}:{pid}" for pid in (os.getpid(), killed[0]))
    assert own not in workers(study)
    assert workers(study) - {lost}
    assert {each.state.name for each in study._study.get_trials()} == {"COMPLETE", "FAIL"}
    with pytest.raises(BitfabricError, match=r"no node of the Ray cluster has the 64 CPUs and 0 GPUs of a worker"):
        explore(MODEL, TARGET, folder, SPACE, jobs=RayCluster(address=nodes, cpus=64), **SETTINGS)


def test_clusters_that_do_not_answer(tmp_path):
    pytest.importorskip("ray")
    call = ["explore", MODEL, "-t", TARGET, "--fps", "1000", "-o", str(tmp_path / "s"), "--jobs", "ray:2"]
    shown = CliRunner().invoke(app, [*call, "--ray-address", "127.0.0.1:1"], standalone_mode=False)
    assert "the Ray cluster 127.0.0.1:1 cannot be used" in str(shown.exception)


@pytest.fixture
def server(tmp_path):
    """A server of a database by gRPC, and its URL."""
    optuna = pytest.importorskip("optuna")
    from optuna.storages._grpc.server import make_server

    with socket.socket() as kept:  # so that the port is given to no other process, also while the server is stopped
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind(("127.0.0.1", 0))
        port = kept.getsockname()[1]
        held = make_server(optuna.storages.get_storage(f"sqlite:///{tmp_path}/held.db"), "127.0.0.1", port)
        held.start()
        yield held, f"grpc://127.0.0.1:{port}"
        held.stop(None)


def test_storage_by_grpc(alone, server, tmp_path, monkeypatch):
    held, url = server
    study = explore(MODEL, TARGET, tmp_path / "study", SPACE, storage=url, **SETTINGS)
    assert points(study) == points(alone)
    held.stop(None).wait()
    monkeypatch.setattr(storage, "ANSWERS", 0.5)
    with pytest.raises(BitfabricError, match=rf"the storage {url} cannot be used: .*start its server there"):
        Study(tmp_path / "study")


def test_storage_that_is_lost_is_one_line(server, tmp_path):
    held, url = server
    folder = tmp_path / "study"
    found = Settings(model=MODEL, target=TARGET, data="digits", space=SPACE, storage=url, **SETTINGS)
    study = storage.load_study(folder, found, 0)
    held.stop(None).wait()
    with pytest.raises(BitfabricError, match="cannot be used"), storage.reachable(folder, found):
        study.ask()
