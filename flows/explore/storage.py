"""The storages of studies: a journal in the study's folder, a database, or a server of one."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.explore.settings import LARGEST, Settings
from hw.host.errors import BitfabricError, UsageError

NAME = "bitfabric"
"""The name of a study in its storage."""
STUDY_ID = "study_id"
"""The attribute of a study in its storage that is the ``id`` of its settings: a storage holds one study."""
ANSWERS = 10.0
"""Seconds within which a server of a storage answers."""
DRIVERS = {
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "mysql": "mysql-connector-python",
}
"""The packages that have the drivers of databases, by the module that SQLAlchemy imports; others have its name."""


def optuna() -> Any:
    """The package Optuna. Raises UsageError where it is not installed."""
    try:
        with warnings.catch_warnings():
            # tqdm, which Optuna imports, warns in notebooks without ipywidgets; none of its progress bars is shown.
            warnings.filterwarnings("ignore", "IProgress not found")
            import optuna
    except ModuleNotFoundError:
        raise UsageError("explore needs Optuna: pip install 'bitfabric[explore]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def absolute(url: str | None) -> str | None:
    """The URL of a storage as every worker understands it: that of a file of SQLite has an absolute path.

    Raises UsageError for a database in memory, which workers cannot share.
    """
    kind, _, place = (url or "").partition("://")
    if kind.partition("+")[0] != "sqlite":
        return url
    path = place.removeprefix("/")
    if path in ("", ":memory:"):
        raise UsageError(f"--storage {url} is a database in memory, which no other process sees: give a file")
    return f"{kind}:///{Path(path).absolute()}"


def open_storage(url: str | None, folder: Path) -> Any:
    """The storage at a URL, ``grpc://HOST:PORT`` or that of a database; None: the journal in a study's folder.

    Raises UsageError for a URL of gRPC without host and port, and what the storage raises.
    """
    storages = optuna().storages
    if url is None:
        return storages.JournalStorage(storages.journal.JournalFileBackend(str(folder / "journal.log")))
    if not url.startswith("grpc:"):
        return storages.RDBStorage(url)
    found = re.fullmatch(r"grpc://([^/:\s]+|\[[0-9a-fA-F:]+\]):(\d{1,5})/?", url)
    if found is None:
        raise UsageError(f"--storage {url} has no host and port: give them as grpc://host:13000")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls its gRPC storage experimental
        storage = storages.GrpcStorageProxy(host=found[1], port=int(found[2]))
    storage.wait_server_ready(timeout=ANSWERS)
    return storage


def load_study(folder: Path, settings: Settings, seed: int) -> Any:
    """Optuna's study of a folder, which is made if the storage has none.

    Raises BitfabricError for a storage that cannot be used, and UsageError for one that holds another study, or has
    lost this one.
    """
    package = optuna()
    try:
        study = package.create_study(
            storage=open_storage(settings.storage, folder),
            study_name=NAME,
            directions=["maximize" if each in LARGEST else "minimize" for each in settings.objectives],
            sampler=package.samplers.TPESampler(multivariate=True, seed=seed),
            load_if_exists=True,
        )
        held = study.user_attrs.get(STUDY_ID)
        if held is None and not study.get_trials(deepcopy=False):
            if any((folder / "trials").glob("*")):
                raise UsageError(
                    f"the storage {_shown(settings, folder)} is empty, and {folder} has networks: restore it, or start "
                    "a new study (-o)"
                )
            study.set_user_attr(STUDY_ID, settings.id)
        elif (held or "") != settings.id:
            raise UsageError(
                f"the storage {_shown(settings, folder)} holds networks of another study than {folder}, and a storage "
                "holds one study: give a new database (--storage) and a new folder (-o)"
            )
        return study
    except BitfabricError:
        raise
    except Exception as error:  # each driver of a database has errors of its own
        raise _unusable(folder, settings, error) from None


@contextmanager
def reachable(folder: Path, settings: Settings) -> Iterator[None]:
    """Context in which the errors of a storage that no longer answers are one line. Raises BitfabricError for them."""
    kinds: list[type[Exception]] = [optuna().exceptions.StorageInternalError]
    if (settings.storage or "").startswith("grpc:"):
        import grpc

        kinds.append(grpc.RpcError)
    try:
        yield
    except tuple(kinds) as error:
        raise _unusable(folder, settings, error) from None


def _unusable(folder: Path, settings: Settings, error: Exception) -> BitfabricError:
    """What to do about a storage that cannot be used."""
    url = settings.storage
    details = getattr(error, "details", None)  # of gRPC, whose text has several lines
    text = str(details() if callable(details) else error) or type(error).__name__
    driver = getattr(error.__cause__, "name", None)
    if isinstance(error, ImportError) and driver is not None:
        text = f"the driver of its database, the Python module {driver}, is not installed"
        remedy = f"pip install '{DRIVERS.get(driver, driver)}'"
    elif url is None:
        remedy = "restore the file, or start a new study (-o)"
    elif url.startswith("grpc:"):
        remedy = "start its server there (docs/howto/cluster.md), and repeat the command"
    else:
        remedy = "give the URL of a database that is there, as sqlite:///study.db, or leave --storage out"
    return BitfabricError(f"the storage {_shown(settings, folder)} cannot be used: {text.splitlines()[0]}; {remedy}")


def _shown(settings: Settings, folder: Path) -> str:
    """The storage as messages name it, without a password."""
    if settings.storage is None:
        return str(folder / "journal.log")
    return re.sub(r"(?<=://)([^/@:]*):[^/@]*@", r"\1:***@", settings.storage)


def counts(trial: Any) -> bool:
    """Whether a trial stands for a network of its own: no repetition, and none that was taken up again."""
    return not trial.user_attrs.get("again") and trial.user_attrs.get("same_as") is None
