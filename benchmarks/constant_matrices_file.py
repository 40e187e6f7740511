"""Writes ``benchmarks/constant_matrices.safetensors``: the matrices of ``benchmarks.constant_matrices``.

Random matrices, and the four of a trained ``jsc-mlp-w3a3``. The jet data set is not public to this script: the network
is trained on 16 features of five classes as scikit-learn makes them (``make_classification``).
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from sklearn.datasets import make_classification

from hw import array_file
from hw.kernels.matrix_vector.kernel import MatrixVector
from hw.lowering.lower import lower
from quant import TrainConfig, create_model, export, fit, load_data

FILE = Path(__file__).with_name("constant_matrices.safetensors")


def trained(folder: Path) -> dict[str, np.ndarray]:
    """The weights of each layer of a trained network, by name with the range of its inputs."""
    x, y = make_classification(
        6000, 16, n_informative=12, n_redundant=2, n_classes=5, class_sep=1.5, random_state=np.random.RandomState(0)
    )
    codes = np.clip(np.rint(128 + 32 * x), 0, 255).astype(np.uint8)
    np.savez(folder / "jets.npz", x_train=codes[:5000], y_train=y[:5000], x_test=codes[5000:], y_test=y[5000:])
    data = load_data(folder / "jets.npz")
    model = create_model("jsc-mlp-w3a3", input_shape=data.shape, in_range=(0, 255))
    accuracy = fit(model, data, TrainConfig(epochs=20)).test_accuracy
    print(f"jsc-mlp-w3a3: accuracy {accuracy:.3f}")
    path = folder / "model.onnx"
    export(model, path)
    kernels = [node.kernel for node in lower(path) if isinstance(node.kernel, MatrixVector)]
    return {
        f"jsc-mlp-w3a3.{i} {int(k.input_dtype.min())} {int(k.input_dtype.max())}": k.weights.astype(np.int8)
        for i, k in enumerate(kernels)
    }


def random() -> dict[str, np.ndarray]:
    """Random matrices of some densities."""
    rng = np.random.default_rng(17)
    made = {}
    shapes = [((16, 32), bits, density, 15) for bits in (2, 4, 8) for density in (100, 50, 25, 10)]
    for shape, bits, density, high in [*shapes, ((64, 64), 3, 25, 7), ((64, 64), 4, 25, 7)]:
        most, size = 2 ** (bits - 1) - 1, shape[0] * shape[1]
        kept = rng.permutation(size).reshape(shape) < size * density // 100
        weights = rng.integers(-most, most + 1, shape) * kept
        made[f"{shape[0]}x{shape[1]} w{bits} {density}% 0 {high}"] = weights.astype(np.int8)
    made["16x32 w1 100% 0 15"] = rng.choice([-1, 1], (16, 32)).astype(np.int8)
    return made


if __name__ == "__main__":
    with TemporaryDirectory() as name:
        FILE.write_bytes(array_file.pack(trained(Path(name)) | random()))
    print(f"written to {FILE}")
