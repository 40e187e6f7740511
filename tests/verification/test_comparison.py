"""What counts as a difference from the reference, what rounding explains, and how much of that a build accepts."""

from dataclasses import replace

import numpy as np
import pytest

from hw.host.errors import BitfabricError
from hw.lowering.lower import lower, lower_model
from hw.verification import comparison
from hw.verification.comparison import check_scales
from hw.verification.difference import first_difference
from hw.verification.reference import Reference, compare, compare_with, random_frames
from tests.builders.qonnx_builder import Builder
from tests.builders.random_models import RandomModel
from tests.verification.test_reference import two_layers

pytestmark = pytest.mark.quick


class Tampered(Reference):
    """A reference that returns another value for one element of a tensor."""

    def __init__(self, model, name, value):
        super().__init__(model)
        self.name = name
        self.value = value

    def tensors(self, frames, names):
        result = super().tensors(frames, names)
        result[self.name][3, 2] = self.value(result[self.name][3, 2])
        return result


def tampered(where, value, frames=8):
    """A comparison of ``two_layers`` with a reference whose value is changed at ``where``, an edge or the output."""
    model = two_layers()
    lowering = lower_model(Reference(model).model)
    name = lowering.tensors[where][0] if where in lowering.tensors else lowering.graph.outputs[0].name
    reference = Tampered(model, name, value)
    return compare_with(lowering.graph, lowering, reference, random_frames(lowering.graph, frames))


@pytest.mark.parametrize("where", ["input", "fc0_threshold", "the output"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_mismatches(where, value):
    compared = tampered(where, lambda old: value)
    assert (compared.mismatches, compared.explained, compared.mismatched_frames) == (1, 0, 1)
    with pytest.raises(BitfabricError, match=r"frame 3, element \[2\]"):
        compared.agreement()


def test_a_value_between_two_codes_is_a_mismatch():
    assert tampered("fc0_threshold", lambda old: old + 0.25 / 8).mismatches == 1
    assert tampered("fc0_threshold", lambda old: old).mismatches == 0


@pytest.mark.parametrize(("last", "kind"), [(1.0, np.isinf), (0.0, np.isnan)])
def test_equal_values_that_are_not_finite_agree(last, kind):
    # Products of 1e76 overflow in float32, on the host as in the reference; times 0, they are NaN.
    b = Builder((1, 12))
    y = b.node("MatMul", b.quant("x", 0.25, 4), b.quant(np.ones((12, 3)), 0.25, 4))
    for factor in (1e38, 1e38, last):
        y = b.node("Mul", y, b.constant(np.float32(factor)))
    reference = Reference(b.model((y, (1, 3))))
    lowering = lower_model(reference.model)
    frames = random_frames(lowering.graph, 50)
    assert kind(reference.run(frames)).any()
    assert compare_with(lowering.graph, lowering, reference, frames).agreement().mismatches == 0


def test_the_first_difference_of_values_that_are_not_finite():
    values = np.array([[np.nan, np.inf, -np.inf, 0.0]])
    assert first_difference(values, values) is None
    assert first_difference(np.array([[np.nan]]), np.array([[np.inf]])).startswith("frame 0, element [0]: nan")
    assert first_difference(np.array([[1.0]]), np.array([[np.nan]])) is not None


def test_only_adjacent_codes_can_be_explained(monkeypatch):
    """However wide the bounds on rounding are."""
    monkeypatch.setattr(comparison, "interval", lambda *_: (np.float64(-1e9), np.float64(1e9)))
    monkeypatch.setattr(comparison, "_explained", lambda lowering, edge, integers, codes, differs: differs)
    one, two = (tampered("fc0_threshold", lambda old, k=k: old + k * (0.25 if old < 0 else -0.25)) for k in (1, 2))
    assert (one.mismatches, one.explained) == (1, 1)
    assert (two.mismatches, two.explained) == (1, 0)


def tie_frames(ties, count=400):
    """Frames for ``two_layers(0.1)``; float32 rounds one element of each of the last ``ties`` away from its tie."""
    x = np.random.default_rng(0).integers(-8, 8, (60, 12)).astype(np.float32) * np.float32(0.1)
    return np.concatenate([np.repeat(x[:1], count - ties, axis=0), np.repeat(x[59:], ties, axis=0)])


def tied(ties):
    """A comparison on such frames."""
    model = two_layers(0.1)
    lowering = lower_model(Reference(model).model)
    return compare_with(lowering.graph, lowering, Reference(model), tie_frames(ties))


def test_explained_differences_are_counted_and_named():
    agreement = tied(1).agreement()
    counts = agreement.frames, agreement.elements, agreement.mismatches, agreement.explained
    assert counts == (400, 400 * (12 + 5 + 5), 1, 1)
    assert agreement.explanation == (
        "1 of 400 frames: 1 element within float32 rounding of its threshold; class unchanged"
    )
    several = replace(agreement, mismatches=3, explained=3, mismatched_frames=2, arg_max_changes=2)
    assert several.explanation == (
        "2 of 400 frames: 3 elements within float32 rounding of their thresholds; changes the class of 2 frames"
    )
    assert several.differences == "2 of 400 frames: 3 elements within float32 rounding of their thresholds"  # numbers
    assert replace(agreement, mismatches=0, arg_max_changes=2).differences is None
    assert tied(0).agreement().explanation is None


def test_more_than_half_a_percent_explained_is_an_error():
    assert tied(44).agreement().explained == 44
    with pytest.raises(
        BitfabricError,
        match=r"45 of 8,800 elements, more than the 0.5% .* first in layer fc0_threshold \(.*\), frame 355",
    ) as caught:
        tied(45).agreement()
    assert "\n" not in str(caught.value)


def test_scales_must_be_finite():
    lowering = lower_model(Reference(two_layers()).model)
    check_scales(lowering)
    (edge, decision), *_ = lowering.decisions.items()
    steps = tuple(
        replace(each, operands=(np.float32(np.inf), *each.operands[1:])) if each.op == "Quant" else each
        for each in decision.steps
    )
    wrong = replace(lowering, decisions=lowering.decisions | {edge: replace(decision, steps=steps)})
    with pytest.raises(BitfabricError, match=f"{edge}: a scale of its Quant is not finite"):
        check_scales(wrong)


@pytest.mark.parametrize("case", [105, 147])
def test_codes_too_far_apart_are_counted_and_end_the_comparison_of_their_frame(case):
    """Two quantizers in one threshold, and a code that exact arithmetic never reaches: rounding leads to both."""
    network = RandomModel(np.random.default_rng([1, 77, case]), dyadic=False)
    compared = compare(lower(model := network.model()), model, network.frames(50))
    assert compared.mismatches == compared.apart > 0
    with pytest.raises(BitfabricError, match=r"\d+ of them by more codes than rounding may explain\)"):
        compared.agreement()
