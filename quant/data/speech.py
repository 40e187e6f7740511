"""Google's Speech Commands as MFCCs, and ToyADMOS sounds as log-mel vectors: the inputs of MLPerf Tiny's networks."""

from pathlib import Path

import numpy as np

from quant.data.dataset import Parts
from quant.data.sound import log_mel, mfcc, read_wav
from quant.errors import QuantError
from quant.files import check_memory

WORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
"""The words that are classes of their own; then come ``silence`` and ``unknown``."""
_NOISE = "_background_noise_"
_RATE = 16_000


def read_speech_commands(folder: Path) -> Parts:
    """Reads ``WORD/*.wav`` and ``testing_list.txt``: MFCCs (N, 490) float32 of 12 classes.

    The files of ``testing_list.txt`` are the test set, all others, also those of ``validation_list.txt``, the training
    set. Of the other words a random part is taken, as many samples as a word has on average, and as many of silence,
    seconds from the noises at random volume. The choice is always the same.
    """
    listed = folder / "testing_list.txt"
    if not listed.is_file():
        raise QuantError(f"{folder} has no testing_list.txt: unpack Speech Commands there", status=2)
    test = {line.strip() for line in listed.read_text().splitlines()}
    others = sorted(
        each.name
        for each in folder.iterdir()
        if each.is_dir() and each.name not in (*WORDS, _NOISE) and any(each.glob("*.wav"))
    )
    noises = [read_wav(path, _RATE) for path in sorted((folder / _NOISE).glob("*.wav"))]
    random = np.random.default_rng(0)
    x: dict[bool, list[np.ndarray]] = {False: [], True: []}
    y: dict[bool, list[int]] = {False: [], True: []}
    for index, word in enumerate(WORDS):
        for path in sorted((folder / word).glob("*.wav")):
            part = f"{word}/{path.name}" in test
            x[part].append(mfcc(read_wav(path, _RATE)))
            y[part].append(index)
    if not x[False] or not x[True]:
        raise QuantError(f"{folder} has no sounds of {WORDS[0]}, ..., {WORDS[-1]} for both sets", status=2)
    for part in (False, True):
        count = max(1, round(len(x[part]) / len(WORDS)))
        paths = [path for word in others for path in sorted((folder / word).glob("*.wav"))]
        paths = [path for path in paths if (f"{path.parent.name}/{path.name}" in test) == part]
        for place in random.permutation(len(paths))[:count]:
            x[part].append(mfcc(read_wav(paths[place], _RATE)))
            y[part].append(len(WORDS) + 1)
        long = [noise for noise in noises if len(noise) >= _RATE]
        for _ in range(count if long else 0):
            noise = long[random.integers(len(long))]
            start = random.integers(len(noise) - _RATE + 1)
            x[part].append(mfcc(noise[start : start + _RATE] * random.uniform(0, 1)))
            y[part].append(len(WORDS))
    arrays = [(np.stack(x[part]).reshape(len(x[part]), -1), np.array(y[part])) for part in (False, True)]
    return Parts(*arrays[0], *arrays[1], class_names=(*WORDS, "silence", "unknown"), numbered=True)


def read_toyadmos(folder: Path) -> Parts:
    """Reads ``train/normal*.wav`` and ``test/normal*.wav``, ``test/anomaly*.wav`` (of DCASE 2020, task 2).

    Vectors (N, 640) of five successive columns of the log-mel spectrogram of 128 bands, without overlap, from its
    columns 50 to 249, as MLPerf Tiny's anomaly detection has them (which takes overlapping ones). A vector's label
    is that of its sound: ``normal`` or ``anomaly``.
    """
    arrays: list[np.ndarray] = []
    for part in ("train", "test"):
        paths = sorted((folder / part).glob("*.wav"))
        if not paths:
            raise QuantError(f"{folder / part} holds no WAV files: unpack a machine of ToyADMOS there", status=2)
        check_memory(folder, len(paths) * 40 * 640 * 4)
        vectors = [_vectors(path) for path in paths]
        labels = [0 if path.name.startswith("normal") else 1 for path in paths]
        arrays += [np.concatenate(vectors), np.repeat(labels, [len(each) for each in vectors])]
    x_train, y_train, x_test, y_test = arrays
    return Parts(x_train, y_train, x_test, y_test)


def _vectors(path: Path) -> np.ndarray:
    columns = log_mel(read_wav(path, _RATE))
    middle = columns[50:250] if len(columns) >= 250 else columns
    count = len(middle) // 5
    if not count:
        raise QuantError(f"{path} is shorter than five windows: remove it", status=2)
    return middle[: 5 * count].reshape(count, 640)
