"""Sounds as features: WAV files, mel filters, MFCCs and log-mel spectrograms, in NumPy."""

import wave
from pathlib import Path

import numpy as np

from quant.errors import QuantError


def read_wav(path: Path, rate: int) -> np.ndarray:
    """Returns the samples of a WAV file of 16 bits at ``rate`` Hz, (N,) float32 in -1..1; the mean of its channels.

    Raises QuantError (status 2) for another file.
    """
    try:
        with wave.open(str(path), "rb") as file:
            found, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError, OSError) as error:
        raise QuantError(f"{path} is damaged or no WAV file ({error}): remove it", status=2) from error
    if found != rate or width != 2:
        raise QuantError(f"{path} has {8 * width} bits at {found} Hz, not 16 bits at {rate} Hz: convert it", status=2)
    samples: np.ndarray = np.frombuffer(data[: len(data) // (2 * channels) * 2 * channels], "<i2").reshape(-1, channels)
    mean: np.ndarray = (samples.mean(1) / 32768).astype(np.float32)
    return mean


def mel_filters_htk(bands: int, bins: int, rate: int, low: float, high: float) -> np.ndarray:
    """Triangular filters (bins, bands) on the mel scale of HTK, ``1127 ln(1 + f / 700)``; that of f = 0 is 0.

    As ``tf.signal.linear_to_mel_weight_matrix``.
    """
    mel = 1127.0 * np.log1p(np.linspace(0.0, rate / 2, bins)[1:, None] / 700.0)
    ends = np.linspace(1127.0 * np.log1p(low / 700.0), 1127.0 * np.log1p(high / 700.0), bands + 2)
    rising = (mel - ends[:-2]) / (ends[1:-1] - ends[:-2])
    falling = (ends[2:] - mel) / (ends[2:] - ends[1:-1])
    return np.vstack([np.zeros((1, bands)), np.maximum(0.0, np.minimum(rising, falling))])


def mel_filters_slaney(bands: int, bins: int, rate: int) -> np.ndarray:
    """Triangular filters (bins, bands) of unit area on Slaney's mel scale, which is linear up to 1 kHz.

    As ``librosa.filters.mel``.
    """
    step, corner = 200.0 / 3, 1000.0
    log_step = np.log(6.4) / 27.0

    def hertz(mel: np.ndarray) -> np.ndarray:
        return np.where(mel < corner / step, mel * step, corner * np.exp(log_step * (mel - corner / step)))

    top = corner / step + np.log(rate / 2 / corner) / log_step if rate / 2 >= corner else rate / 2 / step
    ends = hertz(np.linspace(0.0, top, bands + 2))
    frequency = np.linspace(0.0, rate / 2, bins)[:, None]
    rising = (frequency - ends[:-2]) / np.diff(ends)[:-1]
    falling = (ends[2:] - frequency) / np.diff(ends)[1:]
    filters: np.ndarray = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (ends[2:] - ends[:-2]))
    return filters


def frames_of(samples: np.ndarray, length: int, step: int) -> np.ndarray:
    """Windows (frames, length) of samples (N,), ``step`` apart."""
    return np.lib.stride_tricks.sliding_window_view(samples, length)[::step]


def hann(length: int) -> np.ndarray:
    """The periodic Hann window (length,)."""
    window: np.ndarray = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    return window


def mfcc(samples: np.ndarray) -> np.ndarray:
    """Returns the MFCCs of a second of sound at 16 kHz, (49, 10) float32, as MLPerf Tiny's keyword spotting has them.

    Windows of 30 ms every 20 ms, an FFT of 512, 40 mel bands from 20 Hz to 4 kHz, ``log(mel + 1e-6)``, and the first
    ten coefficients of its DCT-II over ``sqrt(2 * 40)`` (``tf.signal.mfccs_from_log_mel_spectrograms``). The sound
    is divided by its maximum, and zeros follow a shorter one.
    """
    second = np.zeros(16_000)
    most = float(samples.max(initial=0.0))
    second[: len(samples)] = samples[:16_000] / (most if most > 0 else 1.0)
    spectrum = np.abs(np.fft.rfft(frames_of(second, 480, 320) * hann(480), 512))
    mel = np.log(spectrum @ mel_filters_htk(40, 257, 16_000, 20.0, 4_000.0) + 1e-6)
    cosines = 2 * np.cos(np.pi * np.arange(10) * (2 * np.arange(40)[:, None] + 1) / 80)
    coefficients: np.ndarray = mel @ cosines / np.sqrt(80.0)
    return coefficients.astype(np.float32)


def log_mel(samples: np.ndarray) -> np.ndarray:
    """Returns the log-mel spectrogram of sound at 16 kHz, (frames, 128) float32 in dB, as for MLPerf Tiny's anomalies.

    Windows of 1,024 every 512 centred on their samples (zeros around), power, 128 mel bands, ``10 log10(mel + eps)``.
    """
    padded = np.pad(samples.astype(np.float64), 512)
    power = np.abs(np.fft.rfft(frames_of(padded, 1024, 512) * hann(1024), 1024)) ** 2
    mel = power @ mel_filters_slaney(128, 513, 16_000)
    decibel: np.ndarray = 10 * np.log10(mel + np.finfo(np.float64).eps)
    return decibel.astype(np.float32)
