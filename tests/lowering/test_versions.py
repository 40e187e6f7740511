"""The table of operators' versions: complete, and an unlisted version is refused by name."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from qonnx.custom_op.registry import get_supported_versions, getCustomOp

import hw
from hw.host.errors import BitfabricError
from hw.lowering import node_steps, versions
from hw.lowering.constant_folding import OPERATORS
from hw.lowering.domains import ORT_DOMAIN
from hw.lowering.gate.inference import RULES
from hw.lowering.lower import HANDLERS, JOINS, lower
from tests.builders.qonnx_builder import DOMAIN, Builder
from tests.lowering.gate.small_models import dense, refusal
from tests.lowering.test_foreign_qonnx import agrees

pytestmark = pytest.mark.quick

OPSETS = range(versions.OLDEST_OPSET, versions.NEWEST_OPSET + 1)
WITHOUT_EFFECT = {
    "BatchNormalization": {"momentum", "spatial"},  # of training; of statistics by element, which have other shapes
    "Cast": {"saturate", "round_mode"},  # of casts to 8-bit floating point
    # The numbers are read by kind; what holds others is refused.
    "Constant": {"sparse_value", *(f"value_{kind}{s}" for kind in ("float", "int", "string") for s in ("", "s"))},
    "Dropout": {"seed", "ratio"},
    "MaxPool": {"storage_order"},  # of the indices
    "Resize": {"antialias", "cubic_coeff_a", "exclude_outside", "extrapolation_value"},  # of interpolation
    "Split": {"num_outputs"},  # as many as the node has
}
"""Attributes that do not change what is computed where it is computed."""


def test_every_operator_has_its_versions():
    """Each operator of a table is listed with all versions that there are, and nothing else is."""
    used = {*RULES, *HANDLERS, *JOINS, *node_steps.TRANSLATIONS, *(("", op) for op in OPERATORS)}
    assert set(versions.VERSIONS) == used
    for key, listed in versions.VERSIONS.items():
        if key[0] == ORT_DOMAIN:
            assert listed == (1,), key
        elif key[0]:
            assert set(listed) <= set(get_supported_versions(*key)), key
        else:
            there = {versions.since_version(key, opset) for opset in OPSETS}
            assert set(listed) == there - {None}, key


def test_every_attribute_of_a_version_is_read():
    """Each attribute of a listed version occurs in the lowering's code, or is known to change nothing."""
    code = "".join(path.read_text() for path in Path(hw.__file__).parent.glob("lowering/**/*.py"))
    for (domain, op), listed in versions.VERSIONS.items():
        if domain == ORT_DOMAIN:
            continue  # The onnx package does not define its operators.
        for version in listed:
            if domain == DOMAIN:
                attributes = set(getCustomOp(helper.make_node(op, [], [], domain=domain), version).get_nodeattr_types())
            else:
                attributes = set(onnx.defs.get_schema(op, version, "").attributes)
            for name in attributes - WITHOUT_EFFECT.get(op, set()):
                assert re.search(rf'"{name}"', code), f"{op} of version {version} has {name}"


def test_an_unlisted_version_is_refused_by_name(monkeypatch):
    """A later version than those known is not computed as one of them."""
    monkeypatch.setitem(versions.VERSIONS, ("", "Relu"), (6, 13))  # type: ignore[arg-type]
    model = dense()
    model.opset_import[0].version = 14
    assert refusal(model) == (
        "Relu_3: Relu cannot be lowered: its version 14 (opset 14) is not read, only versions 6, 13; "
        "export it in opset 13"
    )


def truncated(domain: str, version: int, inputs: int) -> onnx.ModelProto:
    """A Trunc of QONNX, with five inputs (version 1) or six (version 2)."""
    b = Builder((1, 6))
    x = b.quant("x", 0.25, 6)
    scales = [0.25, 0.0, 6.0, *([1.0] if inputs == 6 else []), 4.0]
    x = b.node("Trunc", x, *scales, rounding_mode="FLOOR")
    model = b.model((x, (1, 6)))
    del model.opset_import[:]
    model.opset_import.extend([helper.make_opsetid("", 13), helper.make_opsetid(domain, version)])
    for node in model.graph.node:
        node.domain = domain
    return model


@pytest.mark.parametrize("domain", [DOMAIN, "onnx.brevitas", "finn.custom_op.general"])
def test_the_version_of_every_name_of_a_domain_counts(domain):
    """Trunc of version 2 has an input more, whatever the domain is called."""
    agrees(truncated(domain, 2, 6), np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32) * 4)
    agrees(truncated(domain, 1, 5), np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32) * 4)
    assert "Trunc_1: Trunc cannot be lowered: it has 6 inputs; Trunc has 5" in refusal(truncated(domain, 1, 6))


def test_unknown_and_mixed_operator_sets_are_refused():
    assert "the model uses QONNX's operators of opset 3; export it in an opset of 1 to 2" in refusal(
        truncated(DOMAIN, 3, 6)
    )
    mixed = truncated(DOMAIN, 2, 6)
    mixed.opset_import.append(helper.make_opsetid("onnx.brevitas", 1))
    lower(mixed)
    mixed.graph.node[0].domain = "onnx.brevitas"
    lower(mixed)
    mixed.graph.node[1].domain = "onnx.brevitas"
    mixed.graph.node[0].domain = DOMAIN
    with pytest.raises(BitfabricError, match=r"of opset 1 \(onnx.brevitas\) and 2, between which Trunc changed"):
        lower(mixed)
