"""Indexing as PyTorch's exporter writes it: GatherND between Transposes, of streams and of lookup tables."""

import re

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from torch import nn

from hw.host.errors import BitfabricError
from hw.lowering.lower import lower, lower_model
from hw.simulation.emulator import Emulator
from hw.verification.reference import Reference, compare_with
from tests.builders.qonnx_builder import Builder
from tests.lowering.operators.right import result


class Tables(nn.Module):
    """Four tables of three inputs behind an encoder, and the counts of two classes."""

    def __init__(self, form: str) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.form = form
        for name, value in {
            "features": torch.tensor([0, 0, 1, 1, 2]),
            "levels": torch.tensor([1.0, 3.0, 1.0, 2.0, 2.0]),
            "wires": torch.tensor([[0, 1, 2], [4, 3, 0], [2, 4, 1], [3, 0, 4]]),
            "powers": torch.tensor([1, 2, 4]),
            "tables": torch.randint(0, 2, (4, 8), generator=generator),
        }.items():
            self.register_buffer(name, value)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bits = (x[:, self.features] >= self.levels).long()
        address = (bits[:, self.wires] * self.powers).sum(-1)
        rows = torch.arange(4)
        match self.form:
            case "one row":
                outputs = self.tables.flatten()[address + rows * 8]
            case "rows":
                outputs = self.tables[rows, address]
            case _:
                outputs = self.tables.T.contiguous()[-1 - address, rows - 4]
        return outputs.reshape(-1, 2, 2).sum(-1)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("form", ["one row", "rows", "columns, from the end"])
def test_networks_of_tables_in_plain_pytorch_are_read(form):
    shapes = {"x": {0: torch.export.Dim("N")}}
    program = torch.onnx.export(
        Tables(form).eval(), (torch.ones(2, 3),), dynamo=True, dynamic_shapes=shapes, verbose=False
    )
    model = program.model_proto
    assert [node.op_type for node in model.graph.node].count("GatherND") == 3
    graph = lower(model, "uint2")
    frames = np.stack(np.meshgrid(*[np.arange(4)] * 3), axis=-1).reshape(-1, 3)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    [right] = session.run(None, {session.get_inputs()[0].name: frames.astype(np.float32)})
    np.testing.assert_array_equal(Emulator(graph).run(frames), right)
    assert [node.kernel.op for node in graph] == ["thermometer", "lookup_layer", "popcount_class"]


def addressed(starts: tuple[int, int], rows: tuple[int, ...], shape: tuple[int, ...] = (2, 4)) -> onnx.ModelProto:
    """Two tables of two inputs, with the number of each table and its address as indices."""
    b = Builder((1, 4))
    b.annotate("x", "UINT2")
    bits = b.node("Cast", b.node("Greater", "x", 1.0), to=TensorProto.INT64)
    inputs = b.node("Gather", bits, b.constant([[0, 1], [2, 3]], np.int64), axis=1)
    address = b.node("Add", b.node("MatMul", inputs, b.constant([1, 2], np.int64)), b.constant(starts, np.int64))
    parts = b.node("Unsqueeze", address, b.constant([2], np.int64)), b.constant(np.reshape(rows, (1, 2, -1)), np.int64)
    tables = b.constant(np.arange(np.prod(shape)).reshape(shape) % 2)
    return b.model((b.node("GatherND", tables, b.node("Concat", *parts[::-1], axis=-1)), (1, 2)))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (addressed((-1, 0), (0, 1)), "its indices along axis 1 of the tables (c6) go from -1 to 3, of 4 entries; let"),
        (addressed((0, 4), (0, 0)), "its indices along axis 1 of the tables (c6) go from 0 to 7, of 4 entries"),
        (addressed((0, 0), (0, 2)), "its indices along axis 0 of the tables (c6) go from 0 to 2, of 2 entries"),
        (addressed((0, 0), (0, 1), (2, 4, 3)), "its indices address 2 axes of constants (c6) of the shape [2, 4, 3]"),
    ],
)
def test_addresses_that_leave_a_table_are_refused(model, message):
    with pytest.raises(BitfabricError, match=re.escape(f"GatherND_7: GatherND cannot be lowered: {message}")):
        lower(model)


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_constant_indices_are_what_onnx_runtime_computes(data):
    """``x[:, indices]`` and ``x[:, rows, :, columns]``, along any axes but the batch, with any Transposes around."""
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 16)))
    rank = data.draw(st.integers(2, 4))
    count = data.draw(st.integers(1, min(2, rank - 1)))
    shape = (1, *rng.integers(2, 4, rank - 1).tolist())
    indexed = rng.permutation(range(1, rank))[:count].tolist()
    perm = [*indexed, *rng.permutation([axis for axis in range(rank) if axis not in indexed]).tolist()]
    taken = data.draw(st.sampled_from([(3,), (2, 2), *([()] if rank - count > 1 else [])]))
    indices = np.stack([rng.integers(-shape[axis], shape[axis], taken) for axis in indexed], axis=-1)
    b = Builder(shape)
    gathered = b.node("GatherND", b.node("Transpose", "x", perm=perm), b.constant(indices, np.int64))
    batch = len(taken) + perm[count:].index(0)
    rest = rng.permutation([axis for axis in range(len(taken) + rank - count) if axis != batch]).tolist()
    sizes = [*taken, *(shape[axis] for axis in perm[count:])]
    y = b.node("Transpose", gathered, perm=[batch, *rest])
    model = b.model((b.quant(y, 0.25, 4), (1, *(sizes[axis] for axis in rest))))
    onnx.checker.check_model(model)
    frames = rng.normal(size=(6, *shape[1:])).astype(np.float32)
    reference = Reference(model)
    lowering = lower_model(reference.model)
    assert compare_with(lowering.graph, lowering, reference, frames).mismatches == 0
    np.testing.assert_array_equal(Emulator(lowering.graph).run(frames), result(model, frames))
