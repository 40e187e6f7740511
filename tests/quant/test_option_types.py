"""Options of models and parameters of schemes of another type than theirs are refused in a line, none is taken as
something else."""

import pytest
import torch

from quant import QuantError, create_model, schemes
from quant.lookup import LookupLayer, PopcountHead, Thermometer


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("lookup-s", {"fan_in": 4.5}, "model lookup-s: fan_in=4.5 is not a whole number or a list of whole numbers"),
        ("lookup-s", {"tables": None}, "tables=None is not a whole number or a list"),
        ("lookup-s", {"bits": 2.5}, "bits=2.5 is not a whole number or null"),
        ("lookup-s", {"temperature": "x"}, "temperature='x' is not a number or null"),
        ("lookup-s", {"skip": "no"}, "skip='no' is not true or false"),
        ("lookup-s", {"levels": "even"}, "levels='even' is not uniform or quantile or gaussian or learned"),
        ("tfc-w2a2", {"hidden": 64}, "hidden=64 is not a list of whole numbers"),
        ("tfc-w2a2", {"hidden": "64"}, "hidden='64' is not a list of whole numbers"),
        ("tfc-w2a2", {"bias": "no"}, "bias='no' is not true or false or null"),
        ("tfc-w2a2", {"in_range": [0, 1, 2]}, r"in_range=\[0, 1, 2\] is not a list of 2 whole numbers"),
        ("cnv-w2a2", {"width": "half"}, "width='half' is not a number"),
        ("resnet20-w2a2", {"survival": 2}, "survival=2 of the last block is not above 0 and at most 1"),
    ],
)
def test_options_of_models(model, options, message):
    with pytest.raises(QuantError, match=message) as caught:
        create_model(model, **options)
    assert caught.value.status == 2


def test_options_of_the_right_types_pass():
    assert create_model("tfc-w2a2", hidden=(16, 8), in_range=[0, 16], dropout=0).options["hidden"] == (16, 8)
    create_model("lookup-s", tables=[40, 20], fan_in=(4, 2), bits=None, wiring=["random", "tree"], temperature=2)


@pytest.mark.parametrize(("scheme", "value"), [("bwn", {"mean_center": "no"}), ("lookup", {"wiring_share": "half"})])
def test_parameters_of_schemes(scheme, value):
    with pytest.raises(QuantError, match=f"^scheme {scheme}: .* is not "):
        schemes.get(scheme, **value)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: LookupLayer(10, 5, fan_in=4.0), "fan_in=4.0 is not a whole number"),
        (lambda: LookupLayer(2.5, 5), "inputs=2.5 is not a whole number"),
        (lambda: Thermometer(3, 2.5, low=0, high=1), "bits=2.5 are not whole numbers"),
        (lambda: LookupLayer(10, 5)(torch.zeros(3, 11)), "its input has 11 bits, not 10"),
        (lambda: PopcountHead(2, 4)(torch.zeros(3, 6)), r"its input is \(3, 6\), not \(N, 4\)"),
        (lambda: Thermometer(3, 2, low=0, high=1)(torch.zeros(3, 4)), "its input has 4 features, not 3"),
    ],
)
def test_layers_of_tables_take_whole_sizes_and_as_many_inputs(made, message):
    with pytest.raises(QuantError, match=message):
        made()
