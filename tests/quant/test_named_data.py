"""Named data sets in small files of their formats, their sounds' features, and downloads."""

import hashlib
import http.server
import io
import pickle
import tarfile
import threading
import wave
from functools import partial

import numpy as np
import pytest
import torch
from scipy.io import savemat

from quant import load_data
from quant.data import FOLDER_VARIABLE, NAMED
from quant.data import named as named_sets
from quant.data.download import Remote, fetch
from quant.data.sound import frames_of, log_mel, mel_filters_htk, mel_filters_slaney, mfcc, read_wav
from quant.errors import QuantError

pytestmark = pytest.mark.quick


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


def write_wav(path, samples, rate=16_000, width=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes((np.asarray(samples) * 32767).astype("<i2").tobytes())


def test_every_set_says_where_it_is_from():
    for name, data in NAMED.items():
        assert data.source, name
        assert data.licence, name
        assert data.summary, name
        assert data.places[0].partition(".")[0] == name
        assert all(remote.md5 is None or len(remote.md5) == 32 for remote in data.remote)


def test_cifar100(place):
    random = np.random.default_rng(0)
    folder = place / "cifar-100-python"
    folder.mkdir()
    pixels = random.integers(0, 256, (6, 3072), dtype=np.uint8)
    for part in ("train", "test"):
        content = {b"data": pixels, b"fine_labels": [5, 1, 2, 3, 4, 99], b"coarse_labels": [0] * 6}
        (folder / part).write_bytes(pickle.dumps(content, protocol=2))
    names = [f"c{i}".encode() for i in range(100)]
    (folder / "meta").write_bytes(pickle.dumps({b"fine_label_names": names}, protocol=2))
    data = load_data("cifar100")
    assert (data.shape, data.classes, data.class_names[99]) == ((3, 32, 32), 100, "c99")
    np.testing.assert_array_equal(data.y_test, [5, 1, 2, 3, 4, 99])


def test_svhn(place):
    random = np.random.default_rng(0)
    (place / "svhn").mkdir()
    x = random.integers(0, 256, (32, 32, 3, 5), dtype=np.uint8)
    for part in ("train", "test"):
        savemat(place / f"svhn/{part}_32x32.mat", {"X": x, "y": np.array([[1], [10], [9], [2], [10]], np.uint8)})
    data = load_data("svhn")
    assert (data.shape, data.classes, data.low, data.high) == ((3, 32, 32), 10, 0, 255)
    np.testing.assert_array_equal(data.y_train, [1, 0, 9, 2, 0])
    np.testing.assert_array_equal(data.x_train[2, 1], x[:, :, 1, 2])
    (place / "svhn/test_32x32.mat").unlink()
    with pytest.raises(QuantError, match=r"has no test_32x32\.mat"):
        load_data("svhn")


def test_unsw_nb15(place):
    random = np.random.default_rng(0)
    parts = {part: random.integers(0, 2, (9, 594)) for part in ("train", "test")}
    np.savez(place / "unsw_nb15_binarized.npz", **parts)
    data = load_data("unsw-nb15")
    assert (data.shape, data.classes, data.class_names) == ((593,), 2, ("normal", "attack"))
    np.testing.assert_array_equal(data.x_test, parts["test"][:, :-1])
    np.testing.assert_array_equal(data.y_train, parts["train"][:, -1])


def test_lhc_jets(place):
    (place / "lhc-jets").mkdir()
    header = (
        "% jets\n@RELATION jets\n@ATTRIBUTE zlogz REAL\n@attribute 'c1 b0' NUMERIC\n@ATTRIBUTE class {g,q,w}\n@DATA\n"
    )
    rows = [f"{i * 0.5},{-i},{'gqw'[i % 3]}" for i in range(15)]
    (place / "lhc-jets/jets.arff").write_text(header + "\n".join(rows) + "\n% end\n")
    data = load_data("lhc-jets")
    assert (data.shape, data.classes, data.class_names) == ((2,), 3, ("g", "q", "w"))
    assert data.feature_names == ("zlogz", "c1 b0")
    assert (len(data.x_train), len(data.x_test)) == (12, 3)
    (place / "lhc-jets/jets.arff").write_text(header + "1,2\n")
    with pytest.raises(QuantError, match=r"jets\.arff line 7 has 2 values for 3 attributes"):
        load_data("lhc-jets")


def test_speech_commands(place):
    folder, random = place / "speech-commands", np.random.default_rng(0)
    listed = []
    for word in ("yes", "no", "cat", "dog"):
        for index in range(4):
            write_wav(folder / word / f"{index}.wav", random.uniform(-0.5, 0.5, 16_000 if index else 12_000))
            if index == 3:
                listed.append(f"{word}/{index}.wav")
    write_wav(folder / "_background_noise_/hum.wav", random.uniform(-0.1, 0.1, 40_000))
    (folder / "testing_list.txt").write_text("\n".join(listed))
    data = load_data("speech-commands")
    assert (data.shape, data.classes, data.class_names[-2:]) == ((490,), 12, ("silence", "unknown"))
    # 6 of the two words, and an average one (1) of silence and of the others
    np.testing.assert_array_equal(np.bincount(data.y_train, minlength=12)[[3, 9, 10, 11]], [3, 3, 1, 1])
    np.testing.assert_array_equal(np.bincount(data.y_test, minlength=12)[[3, 9, 10, 11]], [1, 1, 1, 1])
    np.testing.assert_array_equal(data.x_train, load_data("speech-commands").x_train)
    write_wav(folder / "yes/4.wav", np.zeros(800), rate=8_000)
    with pytest.raises(QuantError, match=r"yes/4\.wav has 16 bits at 8000 Hz, not 16 bits at 16000 Hz"):
        load_data("speech-commands")
    (folder / "yes/4.wav").write_bytes(b"RIFF")
    with pytest.raises(QuantError, match=r"yes/4\.wav is damaged or no WAV file"):
        load_data("speech-commands")


def test_toyadmos(place):
    random = np.random.default_rng(0)
    for part, kinds in (("train", ("normal",)), ("test", ("normal", "anomaly"))):
        for kind in kinds:
            write_wav(place / f"toyadmos/{part}/{kind}_id_01_0.wav", random.uniform(-0.5, 0.5, 160_000))
    data = load_data("toyadmos", task="reconstruction")
    assert (data.shape, data.task, len(data.x_train), len(data.x_test)) == ((640,), "reconstruction", 40, 80)
    assert data.y_test.sum() == 40


def test_mfccs_follow_their_definition():
    """Against the spectrogram of torch, filters by their definition one by one, and the sum of cosines."""
    random = np.random.default_rng(3)
    sound = random.uniform(-0.3, 0.3, 15_000).astype(np.float32)
    second = np.zeros(16_000)
    second[:15_000] = sound / sound.max()
    window = torch.zeros(512, dtype=torch.float64)
    window[:480] = torch.hann_window(480, dtype=torch.float64)
    padded = torch.from_numpy(np.concatenate([second, np.zeros(32)]))
    spectrum = torch.stft(padded, 512, 320, window=window, center=False, return_complex=True).abs().numpy().T
    mel = lambda f: 1127 * np.log(1 + f / 700)  # noqa: E731
    ends = np.linspace(mel(20), mel(4000), 42)
    filters = np.zeros((257, 40))
    for k in range(1, 257):
        m = mel(k * 16_000 / 512)
        for b in range(40):
            rising, falling = (m - ends[b]) / (ends[b + 1] - ends[b]), (ends[b + 2] - m) / (ends[b + 2] - ends[b + 1])
            filters[k, b] = max(0.0, min(rising, falling))
    np.testing.assert_allclose(mel_filters_htk(40, 257, 16_000, 20, 4000), filters, atol=1e-12)
    logs = np.log(spectrum[:49] @ filters + 1e-6)
    n = np.arange(40)
    cosines = 2 * np.cos(np.pi * np.arange(10)[:, None] * (2 * n + 1) / 80)
    np.testing.assert_allclose(mfcc(sound), logs @ cosines.T / np.sqrt(80), rtol=1e-4, atol=1e-4)
    assert mfcc(np.zeros(0, np.float32)).shape == (49, 10)


def test_log_mel_spectrograms():
    filters = mel_filters_slaney(128, 513, 16_000)
    # Triangles of unit area over the frequency, but for the few that are as narrow as a bin.
    np.testing.assert_allclose(filters[:, 40:].sum(0) * 16_000 / 1024, 1, rtol=0.1)
    assert (np.diff(filters.argmax(0)) >= 0).all()
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    spectrum = log_mel(tone)
    assert spectrum.shape == (32, 128)
    assert abs(int(spectrum[10].argmax()) - int(filters[64].argmax())) <= 1
    np.testing.assert_array_equal(frames_of(np.arange(7), 3, 2), [[0, 1, 2], [2, 3, 4], [4, 5, 6]])


def test_wav_files_have_one_mean_channel(tmp_path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.array([[100, 300], [-32768, -32768]], "<i2").tobytes())
    np.testing.assert_allclose(read_wav(tmp_path / "a.wav", 16_000), [200 / 32768, -1])


@pytest.fixture
def server(tmp_path):
    """A web server on this machine, with a folder of files."""
    folder = tmp_path / "remote"
    folder.mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        thread = threading.Thread(target=web.serve_forever, daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{web.server_address[1]}"
        web.shutdown()
        thread.join()


def test_downloads(server, tmp_path, monkeypatch):
    from tests.quant.test_data import write_idx

    folder, address = server
    write_idx(folder, compress=True)
    files = sorted(folder.iterdir())
    remotes = tuple(
        Remote(f"{address}/{path.name}", hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest())
        for path in files
    )
    data = NAMED["mnist"]
    monkeypatch.setitem(
        named_sets.NAMED, "mnist", named_sets.Named("", "", "", data.places, data.read, remotes, "mnist")
    )
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "data"))
    with pytest.raises(QuantError, match=r"put mnist there, or download it \(--download\)"):
        load_data("mnist")
    assert load_data("mnist", download=True).shape == (1, 5, 4)
    for path in files:
        path.unlink()
    assert load_data("mnist").classes == 6  # it is there now
    with pytest.raises(QuantError, match=r"toyadmos cannot be downloaded from here: get it from Koizumi"):
        load_data("toyadmos", task="reconstruction", download=True)


def test_downloads_that_fail(server, tmp_path):
    folder, address = server
    (folder / "a.bin").write_bytes(b"content")
    with pytest.raises(QuantError, match=r"a\.bin has the MD5 hash 9a0364b9e99bb480dd25e1f0284c8555, not 0000"):
        fetch(Remote(f"{address}/a.bin", "0" * 32), tmp_path / "here")
    assert list((tmp_path / "here").iterdir()) == []
    for url, reason in ((f"{address}/none.bin", "not found"), ("http://127.0.0.1:9/a.bin", "refused")):
        with pytest.raises(QuantError, match=f"cannot download {url}: .*{reason}.*; copy the file to") as caught:
            fetch(Remote(url), tmp_path / "here")
        assert "\n" not in str(caught.value)
    with tarfile.open(folder / "a.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("../outside")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"bad"))
    with pytest.raises(QuantError, match=r"a\.tar\.gz is no whole archive"):
        fetch(Remote(f"{address}/a.tar.gz", unpack=True), tmp_path / "here")
    assert not (tmp_path / "outside").exists()
    with tarfile.open(folder / "b.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("set/data_batch_1")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    fetch(Remote(f"{address}/b.tar.gz", unpack=True), tmp_path / "there")
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["set"]
