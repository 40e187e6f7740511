import numpy as np
import pytest
import torch
from torch.nn import functional

from quant import create_model, export, layers, list_models, load_checkpoint, save_checkpoint, schemes, summary
from quant.errors import QuantError
from quant.models import choose_scheme
from quant.models.registry import families


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("tfc-w1a1", {"name": "binarynet"}),
        ("tfc-w1a4", {"name": "binaryconnect", "act_bits": 4}),
        ("sfc-w2a2", {"name": "integer", "weight_bits": 2, "act_bits": 2}),
        ("tfc-wternarya2", {"name": "integer", "weight_bits": "ternary", "act_bits": 2}),
        ("tfc-w3a8", {"name": "integer", "weight_bits": 3, "act_bits": 8}),
        ("tfc-w16a16", {"name": "fixed_point", "weight_bits": 16, "act_bits": 16, "rounding": "half_up"}),
    ],
)
def test_the_name_chooses_the_scheme(name, scheme):
    model = create_model(name)
    assert scheme.items() <= model.scheme.describe().items()
    assert model(torch.randint(0, 17, (5, 64)).float()).shape == (5, 10)


def test_the_named_scheme_gets_the_names_widths():
    chosen = create_model("tfc-w8a4", scheme="fixed_point").scheme
    assert chosen == schemes.get("fixed_point", weight_bits=8, act_bits=4)
    ready = schemes.get("binaryconnect", act_bits=3)
    assert create_model("tfc", scheme=ready).scheme is ready


def test_options():
    model = create_model("tfc-w1a1", in_features=784, classes=7, in_range=(0, 255), in_bits=1, dropout=0.1)
    assert model.input_shape == (784,)
    assert [row.macs for row in summary(model)] == [784 * 64, 64 * 64, 64 * 64, 64 * 7]
    assert {row.weight_bits for row in summary(model)} == {1}
    plain = create_model("tfc-w4a4", batch_norm=False)
    assert plain.output.bias is not None
    assert not any(isinstance(m, torch.nn.BatchNorm1d) for m in plain.modules())
    assert create_model("tfc-w4a4").output.bias is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "tfd-w1a1"}, "did you mean tfc-w1a1"),
        ({"name": "resnet"}, "did you mean"),
        ({"name": "tfc"}, "as in tfc-w1a1"),
        ({"name": "tfc-w1b1"}, "as in tfc-w1a1"),
        ({"name": "vgg-small-w1"}, "as in vgg-small-w1a1"),
        ({"name": "vgg-w1a1"}, "did you mean vgg19-w1a1"),
        ({"name": "cnv-w1a1", "input_shape": (1, 8, 8)}, "images of 32 x 32 at least, not 8 x 8"),
        ({"name": "lenet5-w1a1", "input_shape": (1, 8, 8)}, "images of 16 x 16 at least, not 8 x 8"),
        ({"name": "vgg-small-w1a1", "input_shape": (1, 9, 7)}, "images of 8 x 8 at least, not 9 x 7"),
        ({"name": "resnet8-w1a1", "input_shape": (3, 3, 3)}, "images of 4 x 4 at least"),
        ({"name": "mobilenet-v1-w1a1", "input_shape": (64,)}, "takes images"),
        ({"name": "tfc-w1a17"}, "from 2 to 16"),
        ({"name": "tfc-w4a1"}, r"name tfc-w4a2, with widths of activations .*activation_widths="),
        ({"name": "tfc-w2a2", "scheme": "binarynet"}, "-w1a1"),
        ({"name": "tfc-w2a2", "scheme": "binaryconnect"}, "-w1a2"),
        ({"name": "tfc-wternarya2", "scheme": "fixed_point"}, "use scheme integer"),
        ({"name": "tfc-w1a1", "scheme": "binanet"}, "did you mean binarynet"),
        ({"name": "tfc-w1a1", "width": 3}, "its options are hidden, input_shape, classes"),
        ({"name": "tfc-w1a1", "in_bits": 17}, "1 to 16 bits"),
    ],
)
def test_bad_requests(arguments, message):
    with pytest.raises(QuantError, match=message) as caught:
        create_model(**arguments)
    assert caught.value.status == 2


def test_list_models():
    assert {"tfc-w1a1", "mobilenet-v1-w4a4", "cnv-float"} <= set(list_models())
    tables = list_models("lookup-*")
    assert tables == ["lookup-l", "lookup-m", "lookup-s"]
    assert sorted([*(name.removesuffix("-w2a2") for name in list_models("*-w2a2")), *tables]) == families()
    assert list_models("nothing*") == []


# family -> options that make it small, number of its weight layers
SMALL = {
    "tfc": ({}, 4),
    "sfc": ({}, 4),
    "lfc": ({"in_features": 8}, 4),
    "jsc-mlp": ({}, 4),
    "kws-mlp": ({}, 4),
    "ad-mlp": ({"hidden": (16, 4, 16), "in_features": 20, "classes": 20}, 4),
    "cnv": ({"width": 1 / 16}, 9),
    "lenet5": ({"input_shape": (1, 16, 20)}, 5),
    "vgg-small": ({"width": 1 / 16, "input_shape": (1, 8, 8), "in_range": (0, 16)}, 7),
    "resnet8": ({"width": 1 / 4, "input_shape": (1, 8, 8), "in_range": (0, 16)}, 10),
    "resnet20": ({"width": 1 / 4, "input_shape": (2, 8, 6)}, 22),
    "mobilenet-v1": ({"width": 1 / 16, "input_shape": (1, 8, 8), "in_range": (0, 16)}, 28),
    "lenet-300-100": ({}, 3),
    "lenet5-caffe": ({"width": 0.2, "input_shape": (1, 16, 16)}, 4),
    "nin": ({"width": 1 / 16, "input_shape": (1, 8, 8), "in_range": (0, 16)}, 9),
    "all-cnn-c": ({"width": 1 / 16, "input_shape": (1, 8, 8), "in_range": (0, 16)}, 9),
    "vgg16": ({"width": 1 / 32}, 14),
    "vgg19": ({"width": 1 / 32}, 17),
    "alexnet": ({"width": 1 / 64}, 8),
    "squeezenet": ({"width": 1 / 16, "input_shape": (1, 8, 8), "in_range": (0, 16)}, 26),
    "mobilenet-v2": ({"width": 1 / 16, "input_shape": (1, 8, 8), "in_range": (0, 16)}, 53),
    "resnet56": ({"width": 1 / 8, "input_shape": (1, 8, 8), "in_range": (0, 16)}, 58),
    "resnet110": ({"width": 1 / 8, "input_shape": (1, 8, 8), "in_range": (0, 16)}, 112),
}
LARGE = ("resnet20", "all-cnn-c", "vgg16", "vgg19", "alexnet", "squeezenet", "mobilenet-v2", "resnet56", "resnet110")


@pytest.mark.parametrize(
    ("family", "widths"),
    [
        *(pytest.param(family, "w1a1", marks=[pytest.mark.slow] * (family in LARGE)) for family in SMALL),
        *(pytest.param(family, "float", marks=[pytest.mark.slow] * (family in LARGE[1:])) for family in SMALL),
        ("cnv", "w1a2"),
        ("lenet5", "wternarya2"),
        ("vgg-small", "w16a16"),
        ("resnet8", "w4a4"),
    ],
)
def test_every_family_learns_and_exports(tmp_path, family, widths):
    assert {*SMALL, "lookup-s", "lookup-m", "lookup-l"} == set(families())  # these: tests/quant/test_lookup_models.py
    torch.manual_seed(0)
    options, layer_count = SMALL[family]
    model = create_model(f"{family}-{widths}", **options)
    low, high = model.in_range
    x = torch.randint(low, high, (3, *model.input_shape), generator=torch.Generator().manual_seed(0)).float()
    for _ in range(2):
        logits = model(x)
        logits.logsumexp(1).sum().backward()
    assert logits.shape == (3, model.classes)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert len(list(summary(model))) == layer_count
    if widths == "float":
        with pytest.raises(QuantError, match="train a quantized network") as caught:
            export(model, tmp_path / "model.onnx")
        assert caught.value.status == 2
    else:
        assert export(model, tmp_path / "model.onnx", x.numpy()).float32_max_abs_diff < 1e-3


@pytest.mark.parametrize(
    ("name", "macs", "weights"),
    [
        ("cnv-w1a1", 59_461_376, 1_542_848),
        ("lenet5-w1a1", 281_640, 44_190),
        ("resnet8-w8a8", 12_501_632, 77_360),
    ],
)
def test_sizes(name, macs, weights):
    rows = list(summary(create_model(name)))
    assert (sum(row.macs for row in rows), sum(row.weights for row in rows)) == (macs, weights)


def test_small_images_keep_their_size_in_mobilenet():
    assert create_model("mobilenet-v1-w1a1", width=0.1).pool.kernel_size == (4, 4)
    assert create_model("mobilenet-v1-w1a1", width=0.1, input_shape=(3, 96, 96)).pool.kernel_size == (3, 3)


def test_the_schemes_parameters_override_the_widths():
    assert choose_scheme("tfc-w8a4", "fixed_point", {"rounding": "floor"}).describe() == {
        "name": "fixed_point",
        "weight_bits": 8,
        "act_bits": 4,
        "rounding": "floor",
    }
    assert choose_scheme("vgg-small", "binaryconnect", {"act_bits": 3}).act_bits == 3
    assert choose_scheme("cnv-float").name == "float"
    with pytest.raises(QuantError, match="no parameter 'rate'"):
        choose_scheme("tfc-w1a1", None, {"rate": 3})


@pytest.mark.parametrize(("bits", "low", "high"), [(5, 0, 16), (8, 0, 255), (16, 0, 255), (8, -128, 127)])
def test_wide_inputs_pass_unchanged(bits, low, high):
    x = torch.arange(low, high + 1).float()
    np.testing.assert_array_equal(layers.InputQuant(bits, low, high).eval()(x), x)


def test_narrow_inputs():
    x = torch.arange(256).float()
    np.testing.assert_array_equal(layers.InputQuant(4, 0, 16)(x[:17]), np.minimum(np.arange(17), 15))
    np.testing.assert_array_equal(layers.InputQuant(4, 0, 255)(x), np.clip(np.round(np.arange(256) / 16), 0, 15) * 16)
    np.testing.assert_array_equal(layers.InputQuant(1, 0, 255)(x), np.where(np.arange(256) >= 127.5, 1, -1))


@pytest.mark.parametrize("fan_in", [10, 64, 784, 1024])
def test_the_logit_scale_is_a_power_of_two(fan_in):
    exponent = np.log2(layers.LogitScale(fan_in).scale)
    assert exponent == round(exponent)
    assert 0.7 < layers.LogitScale(fan_in).scale * fan_in**0.5 < 1.42


def test_checkpoint(tmp_path):
    model = create_model("tfc-w2a2", in_features=20, classes=3)
    x = torch.randint(0, 17, (6, 20)).float()
    for _ in range(3):
        model(x)
    save_checkpoint(model, tmp_path / "c.pt")
    again = load_checkpoint(tmp_path / "c.pt")
    assert again.scheme == model.scheme
    np.testing.assert_array_equal(again(x).detach(), model.eval()(x).detach())
    (tmp_path / "c.pt").write_bytes((tmp_path / "c.pt").read_bytes()[:500])
    with pytest.raises(QuantError, match="no checkpoint"):
        load_checkpoint(tmp_path / "c.pt")


def test_s3pool_leaves_out_rows_and_columns_in_training():
    pool = layers.S3Pool(2, grid=4)
    torch.manual_seed(0)
    x = torch.arange(64.0).reshape(1, 1, 8, 8)  # the maximum of a window is its lower right corner
    full = functional.max_pool2d(functional.pad(x, (0, 1, 0, 1), mode="replicate"), 2, stride=1)[0, 0]
    seen = set()
    for _ in range(40):
        y = pool.train()(x)[0, 0]
        assert y.shape == (4, 4)
        rows = [[int(r) for r in (full == value).nonzero()[:1, 0]] for value in y[:, 0]]
        assert rows == sorted(rows)
        assert all(torch.isin(y, full).flatten())
        seen.add(tuple(y.flatten().tolist()))
    assert len(seen) > 10
    torch.testing.assert_close(pool.eval()(x), functional.max_pool2d(x, 2))
    for wrong in (lambda: layers.S3Pool(2, grid=3), lambda: pool.train()(torch.zeros(1, 1, 6, 8))):
        with pytest.raises(QuantError, match="multiple of"):
            wrong()


def test_stochastic_depth_leaves_branches_out_in_training_and_is_a_constant_afterwards(tmp_path):
    depth = layers.StochasticDepth(0.25)
    torch.manual_seed(0)
    kept = [float(depth.train()(torch.ones(1))) for _ in range(400)]
    assert set(kept) == {0.0, 1.0}
    assert 0.15 < sum(kept) / 400 < 0.35
    assert float(depth.eval()(torch.ones(1))) == 0.25
    with pytest.raises(QuantError, match=r"survival=0 of a residual branch is not above 0"):
        layers.StochasticDepth(0)
    model = create_model("resnet8-w4a4", input_shape=(1, 8, 8), in_range=(0, 16), width=0.25, survival=0.5)
    found = [m.survival for m in model.modules() if isinstance(m, layers.StochasticDepth)]
    np.testing.assert_allclose(found, [1 - 0.5 / 3, 1 - 1.0 / 3, 0.5])
    export(model.eval(), tmp_path / "model.onnx", np.random.default_rng(0).integers(0, 17, (8, 1, 8, 8)).astype("f4"))
