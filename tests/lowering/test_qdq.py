"""Models with ONNX's own quantizers: QuantizeLinear, Clip and DequantizeLinear, against ONNX Runtime as it stands."""

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.host.operators import OPERATORS
from hw.lowering.lower import lower_model
from hw.simulation.emulator import Emulator
from hw.verification.layers import check_directed
from hw.verification.reference import Reference, compare_with
from tests.builders.random_qdq import TYPES, QdqBuilder, RandomQdq, onnxruntime_run

OPSETS = (10, 11, 13, 17, 19, 21, 23, 25)


def agrees(model: onnx.ModelProto, x: np.ndarray, directed: bool = False):
    """Compare the graph of a model with ONNX Runtime's own result, and layer by layer; returns the comparison."""
    reference = Reference(model)
    lowered = lower_model(reference.model)
    want = onnxruntime_run(model, x)
    got = Emulator(lowered.graph).run(x)
    compared = compare_with(lowered.graph, lowered, reference, x)
    assert compared.mismatches == compared.explained, compared.describe()
    if not compared.mismatches and not compared.decided:
        near = {"rtol": 1e-5, "atol": 1e-5} if want.dtype.kind == "f" else {"rtol": 0}
        np.testing.assert_allclose(got, want, **near)
    if directed:
        check_directed(lowered.graph, lowered, reference)
    return compared


def test_quantize_linear_is_onnx_runtimes():
    """A division, rounded to even, and the zero point after that: on all ties, and next to them."""
    rng = np.random.default_rng(0)
    scale = np.float32(0.1)
    x = (np.arange(-3000, 3000) + 0.5).astype(np.float32) * scale
    x = np.concatenate([x, rng.normal(size=2000).astype(np.float32) * 30, [3e38, -3e38, 0, 1e10]]).astype(np.float32)
    x = np.concatenate([x, np.nextafter(x, np.float32(np.inf)), np.nextafter(x, np.float32(-np.inf))])[None]
    for kind, (_, _, low, high) in TYPES.items():
        for opset in (13, 21):
            b = QdqBuilder(x, opset)
            want = b.values(b.dequantize(b.quantize("x", kind, scale, 3)))
            codes = OPERATORS["QuantizeLinear"](x, scale, np.float32(3), low=low, high=high)
            np.testing.assert_array_equal((codes - 3) * scale, want)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 1 << 30), kind=st.sampled_from(sorted(TYPES)), weight=st.sampled_from(sorted(TYPES)),
    symmetric=st.booleans(), opset=st.sampled_from(OPSETS),
)  # fmt: skip
def test_random_networks(seed, kind, weight, symmetric, opset):
    net = RandomQdq(seed, kind, weight, symmetric or weight.endswith("16"), opset)
    model = net.model()
    agrees(model, np.concatenate([net.frames, net.draw(8)]))
