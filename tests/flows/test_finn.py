"""FINN's front end, estimate and engine on multilayer perceptrons from both Brevitas exporters."""

import contextlib
import copy
import io
import os
import subprocess
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path

import brevitas.nn as qnn
import numpy as np
import pytest
import torch
from brevitas.export import export_qonnx
from brevitas.quant import (
    Int8ActPerTensorFixedPoint,
    Int8WeightPerTensorFixedPoint,
    SignedBinaryActPerTensorConst,
    SignedBinaryWeightPerTensorConst,
)
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.util.cleanup import cleanup_model
from torch import nn

from flows import finn
from flows.finn import frontend
from hw.finn.execution import calling_finn
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding

SIZES = (48, 24, 16, 6)


class _Weight1(SignedBinaryWeightPerTensorConst):
    scaling_const = 1.0


class _Act1(SignedBinaryActPerTensorConst):
    scaling_const = 1.0


class _TopK(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.topk(x, 1, dim=1)[1]


def _act(bits: int) -> nn.Module:
    if bits == 1:
        return qnn.QuantIdentity(act_quant=_Act1)
    return qnn.QuantIdentity(act_quant=Int8ActPerTensorFixedPoint, bit_width=bits, min_val=-1.0, max_val=1.0)


def _linear(inputs: int, outputs: int, bits: int) -> nn.Module:
    if bits == 1:
        return qnn.QuantLinear(inputs, outputs, bias=False, weight_quant=_Weight1)
    quant = Int8WeightPerTensorFixedPoint
    return qnn.QuantLinear(inputs, outputs, bias=False, weight_quant=quant, weight_bit_width=bits)


def _export(folder: Path, in_bits: int, weights: int, acts: int, dynamo: bool = False, end: nn.Module | None = None):
    """An MLP with power-of-two scales, so that its logits are exact, and BatchNorms of both signs, so that no
    value lies between two codes."""
    torch.manual_seed(weights * 100 + acts)
    layers: list[nn.Module] = [nn.Flatten(), _act(in_bits)]
    for inputs, outputs in pairwise(SIZES[:-1]):
        norm = nn.BatchNorm1d(outputs)
        with torch.no_grad():
            norm.weight.uniform_(-1.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
            norm.running_var.uniform_(*((0.02, 0.3) if weights > 1 else (0.5, 40)))
        layers += [_linear(inputs, outputs, weights), norm, _act(acts)]
    layers += [_linear(SIZES[-2], SIZES[-1], weights), *([end] if end else [])]
    path = folder / f"w{weights}a{acts}_{in_bits}_{dynamo}_{end is not None}.onnx"
    network = nn.Sequential(*layers).eval()
    with contextlib.redirect_stdout(io.StringIO()):
        export_qonnx(copy.deepcopy(network), torch.zeros(1, 1, 6, 8), export_path=str(path), dynamo=dynamo)
    return path


def _reference(path: Path, x: np.ndarray) -> np.ndarray:
    model = cleanup_model(ModelWrapper(str(path)), override_inpsize=len(x))
    return execute_onnx(model, {model.graph.input[0].name: x})[model.graph.output[0].name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("finn")


@pytest.fixture(scope="module")
def binary(folder):
    return _export(folder, 1, 1, 1)


def _frames(count: int) -> np.ndarray:
    return np.random.default_rng(7).uniform(-1.2, 1.2, (count, 1, 6, 8)).astype(np.float32)


@pytest.mark.parametrize(
    ("in_bits", "weights", "acts", "dynamo"),
    [(1, 1, 1, True), (8, 1, 1, False), (8, 2, 2, False), (8, 4, 4, True), (8, 8, 8, False)],
)
def test_engine_equals_reference(folder, in_bits, weights, acts, dynamo):
    path = _export(folder, in_bits, weights, acts, dynamo)
    engine = finn.FinnDataflow(path, batch=64)
    x = _frames(150)
    result = engine.run(x)
    assert engine.batch == 64
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, _reference(path, x))
    assert len(np.unique(result, axis=0)) > 50, "the network is too trivial to compare"


def test_engine_gives_labels(folder):
    path = _export(folder, 8, 4, 4, end=_TopK())
    labels = finn.FinnDataflow(path, batch=1).run(_frames(50))
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels, _reference(path, _frames(50)))
    assert finn.estimate(path).layers[-1].op == "LabelSelect_hls"


def test_engine_runs_the_graph_before_finn_narrows_it(folder):
    """FINN bounds popcounts by the signed sum of the weights and clips thresholds to that, which loses neurons."""
    network = nn.Sequential(_act(1), _linear(100, 1, 1), nn.BatchNorm1d(1), _act(1), _linear(1, 2, 1)).eval()
    signs = np.where(np.arange(100) < 50, 1.0, -1.0).astype(np.float32)
    with torch.no_grad():
        network[1].weight.copy_(torch.from_numpy(signs[None]))
        network[2].bias.fill_(-59.0)  # fires from a sum of 59 on: popcount 80 of 100, where INT7 ends at 63
    path = folder / "popcount.onnx"
    with contextlib.redirect_stdout(io.StringIO()):
        export_qonnx(network, torch.zeros(1, 100), export_path=str(path), dynamo=False)
    x = np.stack([signs * np.where(np.arange(100) < flips, -1, 1) for flips in range(101)]).astype(np.float32)
    engine = finn.FinnDataflow(path, batch=len(x))
    expected = _reference(path, x)
    assert (expected[:21] != expected[21]).all()
    np.testing.assert_array_equal(engine.run(x), expected)
    engine._model = frontend.minimized(engine._model)
    assert (engine.run(x)[21:37] != expected[21:37]).all()


def test_estimate_is_finns_own(binary):
    from finn.analysis.fpgadataflow.exp_cycles_per_layer import exp_cycles_per_layer
    from finn.analysis.fpgadataflow.res_estimation import res_estimation
    from finn.transformation.fpgadataflow.minimize_accumulator_width import MinimizeAccumulatorWidth
    from finn.transformation.fpgadataflow.set_folding import SetFolding
    from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers
    from qonnx.transformation.general import GiveUniqueNodeNames

    part = "xc7z020clg400-1"
    estimate = finn.estimate(binary, part, fps=1e6, clock_mhz=96)
    with calling_finn(binary):
        model = frontend.partition(frontend.dataflow(binary))
        for step in (MinimizeAccumulatorWidth(), SpecializeLayers(part), SetFolding(96), GiveUniqueNodeNames()):
            model = model.transform(step)
        cycles, cost = model.analysis(exp_cycles_per_layer), model.analysis(partial(res_estimation, fpgapart=part))
    assert [layer.name for layer in estimate.layers] == list(cost)
    for layer in estimate.layers:
        op = cost[layer.name]
        assert (layer.cycles, layer.lut) == (cycles[layer.name], op["LUT"])
        assert (layer.bram18, layer.dsp) == (op["BRAM_18K"], op["DSP"])
    assert estimate.max_cycles == max(cycles.values()) <= 96
    assert estimate.fps == 96e6 / estimate.max_cycles
    assert estimate.lut == sum(op["LUT"] for op in cost.values())

    by_name = {layer.name: {"PE": layer.pe, "SIMD": layer.simd} for layer in estimate.layers}
    in_order = [Folding(layer.pe, layer.simd) for layer in estimate.layers]
    assert finn.estimate(binary, part, folding={"Defaults": {}, **by_name}).layers == estimate.layers
    assert finn.estimate(binary, part, folding=in_order).layers == estimate.layers
    unfolded = finn.estimate(binary, part)
    assert unfolded.max_cycles == SIZES[0] * SIZES[1]
    quantizer = finn.estimate(binary, part, input_quantizer=True)
    assert quantizer.layers[1:] == unfolded.layers
    assert quantizer.layers[0].op == "Thresholding_rtl"


def test_mixed_widths_estimate(folder):
    estimate = finn.estimate(_export(folder, 8, 4, 4), target_cycles=64)
    assert [layer.op for layer in estimate.layers] == ["MVAU_hls", "MVAU_hls", "MVAU_rtl"]
    assert estimate.dsp > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"folding": {"MVAU_hls_0": {"PE": 5}}}, "PE 5 of MVAU_hls_0 does not divide its MH of 24"),
        ({"folding": {"MVAU_hls_7": {"PE": 1}}}, "no layer MVAU_hls_7; it has MVAU_hls_0"),
        ({"folding": [Folding()]}, "1 foldings for 3"),
        ({"fps": 1e9}, "at most one frame a cycle"),
        ({"target_cycles": 0}, "below 1"),
        ({"fps": 10, "target_cycles": 5}, "not several"),
        ({"part": "LFE5U-85F"}, "no AMD part"),
    ],
)
def test_estimate_refuses(binary, options, words):
    with pytest.raises(BitfabricError, match=words) as caught:
        finn.estimate(binary, **options)
    assert caught.value.status == 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("in_bits", "weights", "acts"), [(8, 1, 16), (16, 16, 16)])
def test_sixteen_bits_refused_with_finns_reason(folder, in_bits, weights, acts):
    path = _export(folder, in_bits, weights, acts)
    with pytest.raises(BitfabricError, match=r"bit width of 16.0 is higher than .* 8; use the open") as caught:
        finn.FinnDataflow(path, batch=1) if weights == 1 else finn.estimate(path)
    assert "\n" not in str(caught.value)


def test_bad_input(folder, binary):
    with pytest.raises(BitfabricError, match="no file"):
        finn.estimate(folder / "absent.onnx")
    broken = folder / "broken.onnx"
    broken.write_bytes(binary.read_bytes()[:1000])
    with pytest.raises(BitfabricError, match="damaged or not an ONNX file"):
        finn.FinnDataflow(broken)
    half = folder / "half.onnx"
    with contextlib.redirect_stdout(io.StringIO()):
        export_qonnx(nn.Sequential(_act(8), nn.Linear(4, 2)), torch.zeros(1, 4), export_path=str(half), dynamo=False)
    with pytest.raises(BitfabricError, match=r"MatMul_0 \(MatMul\) stays outside"):
        finn.FinnDataflow(half)
    engine = finn.FinnDataflow(binary, batch=4)
    for x in (np.zeros((2, 48)), np.array(1.0), np.zeros((1, 1, 6, 8), complex)):
        with pytest.raises(BitfabricError, match=r"the model takes numbers, \('N', 1, 6, 8\)"):
            engine.run(x)
    assert engine.run(np.zeros((0, 1, 6, 8))).shape == (0, 6)


def test_finn_missing(binary, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "finn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "finn", None)
    for call in (finn.FinnDataflow, finn.estimate):
        with pytest.raises(BitfabricError, match=r"finn is missing; install it with `pip install 'bitfabric\[finn\]'"):
            call(binary)


def test_quiet_light_and_tidy(binary, tmp_path):
    """Nothing printed, no file left in the working or home folder, no FINN imported before it is used."""
    script = (
        "import sys; from flows import finn; import numpy as np\n"
        "assert not {'finn', 'torch', 'brevitas'} & set(sys.modules), 'heavy import'\n"
        f"finn.FinnDataflow({str(binary)!r}).run(np.zeros((2, 1, 6, 8)))\n"
        f"finn.estimate({str(binary)!r}, target_cycles=20)\n"
    )
    home, work, scratch = (tmp_path / name for name in ("home", "work", "scratch"))
    for place in (home, work, scratch):
        place.mkdir()
    root = str(Path(__file__).parents[2])
    env = {k: v for k, v in os.environ.items() if not k.startswith("FINN")}
    env |= {"HOME": str(home), "TMPDIR": str(scratch), "PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=work, env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [p for place in (home, work, scratch) for p in place.rglob("*")] == []
