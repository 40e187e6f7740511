"""Files of single published data sets: SVHN, UNSW-NB15 as LogicNets has it, the LHC jets of OpenML."""

import csv
import re
from pathlib import Path

import numpy as np

from quant.data.dataset import Parts
from quant.errors import QuantError
from quant.files import check_archive

_ATTRIBUTE = re.compile(r"""@attribute\s+(?:'([^']+)'|"([^"]+)"|(\S+))""", re.IGNORECASE)


def read_svhn(folder: Path) -> Parts:
    """Reads ``train_32x32.mat`` and ``test_32x32.mat``: images (N, 3, 32, 32) uint8; label 10 is the digit 0."""
    from scipy.io import loadmat

    arrays: list[np.ndarray] = []
    for part in ("train", "test"):
        path = folder / f"{part}_32x32.mat"
        if not path.is_file():
            raise QuantError(f"{folder} has no {path.name}: copy both files of the cropped digits there", status=2)
        content = loadmat(path)
        arrays += [np.ascontiguousarray(content["X"].transpose(3, 2, 0, 1)), content["y"].reshape(-1).astype(int) % 10]
    x_train, y_train, x_test, y_test = arrays
    return Parts(x_train, y_train, x_test, y_test, numbered=True)


def read_unsw(place: Path) -> Parts:
    """Reads ``unsw_nb15_binarized.npz``: 593 features of 0 and 1, and whether a connection is an attack (1).

    Arrays ``train`` and ``test`` (N, 594), the label last. Umuroglu, Akhauri, Fraser, Blott, "LogicNets: co-designed
    neural networks and circuits for extreme-throughput applications", FPL 2020.
    """
    path = place / "unsw_nb15_binarized.npz" if place.is_dir() else place
    if not path.is_file():
        raise QuantError(f"{place} has no {path.name}: copy it there", status=2)
    check_archive(path)
    with np.load(path, allow_pickle=False) as file:
        if "train" not in file or "test" not in file:
            raise QuantError(f"{path} has no arrays train and test", status=2)
        parts = [np.asarray(file[name]) for name in ("train", "test")]
    train, test = (part.astype(np.uint8) for part in parts)
    return Parts(train[:, :-1], train[:, -1], test[:, :-1], test[:, -1], ("normal", "attack"), numbered=True)


def read_jets(place: Path) -> Parts:
    """Reads the ARFF file of OpenML's data set 42468: 16 features and the class of a jet (g, q, t, w or z).

    Duarte et al., "Fast inference of deep neural networks in FPGAs for particle physics", JINST 2018.
    """
    path = place if place.is_file() else next(iter(sorted(place.glob("*.arff"))), None)
    if path is None:
        raise QuantError(f"{place} has no .arff file: copy that of openml.org/d/42468 there", status=2)
    names: list[str] = []
    rows: list[list[str]] = []
    with path.open(encoding="utf-8", newline="") as file:
        head = 0
        for line in file:
            head += 1
            if match := _ATTRIBUTE.match(line):
                names.append(next(filter(None, match.groups())))
            elif line.strip().lower() == "@data":
                break
        for number, row in enumerate(csv.reader(file, quotechar="'"), start=head + 1):
            if not row or row[0].startswith("%"):
                continue
            if len(row) != len(names):
                raise QuantError(f"{path} line {number} has {len(row)} values for {len(names)} attributes", status=2)
            rows.append(row)
    if not rows:
        raise QuantError(f"{path} has no rows behind @data", status=2)
    table = np.array(rows)
    label = names.index("class") if "class" in names else len(names) - 1
    features = [index for index in range(len(names)) if index != label]
    try:
        x = table[:, features].astype(np.float64)
    except ValueError as error:
        raise QuantError(f"{path}: {error}: a feature is no number", status=2) from error
    return Parts(x, table[:, label], feature_names=tuple(names[index] for index in features), whole=False)
