"""Lookup networks by name: their training with ``fit``, checkpoints, run folders, and refusals."""

import json

import lightning
import numpy as np
import pytest
import torch
from onnxruntime import InferenceSession

from quant import (
    Network,
    TrainConfig,
    compression,
    create_model,
    export,
    fit,
    layers,
    load_checkpoint,
    load_data,
    save_checkpoint,
    schemes,
    summary,
    train_run,
)
from quant.data import DataSet
from quant.errors import QuantError, QuantWarning
from quant.lookup import LookupConv2d, Thermometer
from quant.lookup.tables import TableLayer
from quant.training.lookup import constant_tables
from quant.training.start import start_from

DIGITS = load_data("digits")
SMALL = {"tables": (60, 20), "input_shape": (1, 8, 8)}


def model(seed=0, **options):
    torch.manual_seed(seed)
    return create_model("lookup-s", **{**SMALL, **options})


def run(net, epochs=3, data=DIGITS, **options):
    return fit(net, data, TrainConfig(epochs=epochs, batch_size=200), progress=False, **options)


def assert_same(a, b):
    for name, value in a.state_dict().items():
        assert torch.equal(value, b.state_dict()[name]), name


def test_a_training_learns_the_wires_and_freezes_them():
    net = model(scheme=schemes.get("lookup", wiring_share=0.5))
    seen = []

    class Record(lightning.Callback):
        def on_train_batch_end(self, *_):
            layer = net.hidden[0]
            seen.append((layer.wires.clone(), None if layer.scores is None else layer.scores.values.shape))

    result = run(net, 4, callbacks=[Record()])
    steps = 4 * (len(DIGITS.x_train) // 200)
    assert len(seen) == steps
    assert all(shape is not None for _, shape in seen[: steps // 2])
    assert all(shape is None for _, shape in seen[steps // 2 :])
    assert not torch.equal(seen[0][0], seen[steps // 2 - 1][0])
    assert torch.equal(seen[steps // 2][0], net.hidden[0].wires)
    # Bits that are almost always 0 or 1, as of the corners, are candidates of no table.
    encoded = net.input(torch.from_numpy(DIGITS.x_train).float()).mean(0)
    used = encoded[net.hidden[0].wires.flatten()]
    assert used.min() > 0
    assert used.max() < 1
    assert result.history[-1].loss < result.history[0].loss
    assert result.history[0].flip_ratio > 0
    assert float(net.hidden[0].tables.abs().max()) <= 1


@pytest.mark.parametrize("options", [{"wiring": "random"}, {"wiring": ["random", "tree"], "tables": (80, 20)}])
def test_other_wirings_stay(options):
    net = model(**options)
    run(net, 1)
    if "tree" in options["wiring"]:
        np.testing.assert_array_equal(net.hidden[1].wires.t(), np.arange(80).reshape(20, 4))
    assert all(layer.scores is None for layer in net.hidden)


@pytest.mark.parametrize(
    "options",
    [
        {"skip": True, "fan_in": [2, 6]},
        {"levels": "learned", "bits": 2},
        {"gradient": "multilinear", "levels": "quantile"},
    ],
    ids=str,
)
def test_variants_learn(options):
    history = run(model(**options), 4).history
    assert history[-1].loss < history[0].loss


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path):
    whole = model()
    run(whole, 3)

    class Interrupt(lightning.Callback):
        def on_train_epoch_start(self, trainer, _module):
            if trainer.current_epoch == 1:
                raise KeyboardInterrupt

    config = TrainConfig(epochs=3, batch_size=200)
    parted = model(scheme=schemes.get("lookup", wiring_share=0.6))
    whole = model(scheme=schemes.get("lookup", wiring_share=0.6))
    run(whole, 3)
    with pytest.raises(KeyboardInterrupt):
        fit(parted, DIGITS, config, progress=False, checkpoint=tmp_path, callbacks=[Interrupt()])
    assert parted.hidden[0].scores is None
    again = model(seed=1, scheme=schemes.get("lookup", wiring_share=0.6))
    fit(again, DIGITS, config, progress=False, checkpoint=tmp_path, resume=True)
    assert_same(whole, again)


@pytest.mark.parametrize("how", ["again", "loaded", "started"])
@pytest.mark.parametrize("levels", ["quantile", "learned"])
def test_a_further_training_keeps_wires_and_levels(how, levels, tmp_path):
    first = model(levels=levels)
    run(first, 2)
    wires, fitted = first.hidden[0].wires.clone(), first.input.levels.clone()
    reached = float(first.hidden[0].tables.detach().abs().mean())
    if how == "loaded":
        save_checkpoint(first, tmp_path / "checkpoint.pt")
        first = load_checkpoint(tmp_path / "checkpoint.pt")
    elif how == "started":
        source, first = first, model(seed=5, levels=levels)
        start_from(first, source)
    fit(first, DIGITS, TrainConfig(epochs=1, batch_size=200, learning_rate=1e-6), progress=False)
    assert torch.equal(first.hidden[0].wires, wires)
    torch.testing.assert_close(first.input.levels, fitted, atol=1e-3, rtol=0)
    assert float(first.hidden[0].tables.detach().abs().mean()) == pytest.approx(reached, rel=0.05)


class Encoded(Network):
    """An encoder whose bits a quantized dense layer reads, without any table."""

    def __init__(self, scheme):
        super().__init__("encoded", scheme, (64,), 10, (0, 16))
        self.encoder = Thermometer(64, 2, "quantile", low=0, high=16)
        self.output = layers.linear(scheme, 128, 10)
        self.options = {}

    def forward(self, x):
        return self.output(self.encoder(x))


def test_an_encoder_without_tables_gets_its_levels_from_the_samples():
    net = Encoded(schemes.get("integer", weight_bits=4, act_bits=4))
    before = net.encoder.levels.clone()
    run(net, 1)
    fitted = Thermometer(64, 2, "quantile", low=0, high=16)
    fitted.fit_levels(torch.tensor(DIGITS.x_train).float())
    assert not torch.equal(net.encoder.levels, before)
    torch.testing.assert_close(net.encoder.levels, fitted.levels)


class Hybrid(Network):
    """Tables between a quantized convolution and a quantized dense layer, with a convolution of tables."""

    def __init__(self, scheme):
        super().__init__("hybrid", scheme, (1, 8, 8), 10, (0, 16))
        self.conv = layers.block(scheme, layers.conv(scheme, 1, 3, 3), 3, 2)
        self.encoder = Thermometer(108, 2, "quantile", low=0, high=4)
        self.tables = LookupConv2d(6, 8, 3, stride=2)
        self.dense = layers.linear(scheme, 32, 10)
        self.options = {}

    def forward(self, x):
        bits = self.encoder(self.conv(self.input(x)))
        # Bits of a channel are consecutive: (feature, level) becomes (channel and level, row, column).
        images = bits.reshape(-1, 3, 6, 6, 2).permute(0, 1, 4, 2, 3).flatten(1, 2)
        return self.dense(self.tables(images).flatten(1))


def test_a_hybrid_network_is_trained_and_exported(tmp_path):
    torch.manual_seed(0)
    net = Hybrid(schemes.get("integer", weight_bits=4, act_bits=3))
    before, uniform = net.tables.wires.clone(), net.encoder.levels.clone()
    history = run(net, 3).history
    assert history[-1].loss < history[0].loss
    assert not torch.equal(net.tables.wires, before)
    assert not torch.equal(net.encoder.levels, uniform)
    frames = DIGITS.x_test[:50].astype(np.float32)
    assert export(net, tmp_path / "model.onnx", frames).quantizers == 4


def test_tables_that_never_change_become_constants():
    kept, frozen = (model(scheme=schemes.get("lookup", freeze_constants=flag)) for flag in (False, True))
    for net in (kept, frozen):
        with torch.no_grad():
            net.hidden[0].tables[:5] = -0.3  # too far from 0 for one epoch
        run(net, 1)
    x = torch.from_numpy(DIGITS.x_train)
    never = constant_tables(kept, x)
    assert sum(int((each != 0).sum()) for each in never.values()) > 0
    for name, each in never.items():
        codes = frozen.get_submodule(name).codes()
        assert torch.equal(codes[each != 0], (each[each != 0] > 0)[:, None].expand(-1, codes.shape[1]))
        assert torch.equal(codes[each == 0], kept.get_submodule(name).codes()[each == 0])
    assert torch.equal(kept(x.float()), frozen(x.float()))


def test_collapsed_layers_are_warned_of():
    x = np.zeros((40, 6), np.uint8)
    x[:, 0] = np.arange(40) % 2
    data = DataSet("flat", x, x[:, 0].astype(np.int64), x, x[:, 0].astype(np.int64), classes=2, low=0, high=1)
    net = create_model("lookup-s", tables=[40], input_shape=(6,), classes=2, in_range=(0, 1), fan_in=2, wiring="random")
    with torch.no_grad():
        net.hidden[0].tables.copy_(torch.ones(40, 4))
    with pytest.warns(QuantWarning, match="layer hidden.0 has collapsed: 100% of its tables") as caught:
        fit(net, data, TrainConfig(epochs=1, batch_size=20), progress=False)
    assert len(caught) == 1


def test_a_run_folder(tmp_path):
    config = TrainConfig(epochs=2, batch_size=200, augment="shift", validation=0.1)
    teacher = train_run("tfc-float", tmp_path / "teacher", TrainConfig(epochs=1), progress=False)
    result = train_run(
        "lookup-s", tmp_path / "run", config, model_options={"tables": [60]}, teacher=teacher["out"], progress=False
    )
    assert result["scheme"] == {"name": "lookup", "wiring_share": 1 / 3, "freeze_constants": True}
    assert result["verification"]["float32_max_abs_diff"] == 0
    assert [(row["kind"], row["weights"], row["macs"]) for row in result["layers"]] == [("lookup", 60 * 16, 60 * 4)]
    net = load_checkpoint(tmp_path / "run/checkpoint.pt")
    assert str(summary(net)).endswith(
        "tables of 960 bits in all, which read 240 bits; encoders of 192 bits; nothing is multiplied"
    )
    frames = np.load(tmp_path / "run/x_test.npy")
    session = InferenceSession(tmp_path / "run/model.onnx")
    found = np.concatenate([session.run(None, {"global_in": frame[None]})[0] for frame in frames])
    np.testing.assert_array_equal(found, net(torch.from_numpy(frames)).detach())
    assert np.mean(found.argmax(1) == np.load(tmp_path / "run/y_test.npy")) == result["accuracy"]["test"]
    json.dumps(result)


def test_sizes():
    for name, tables in (("lookup-s", 1400), ("lookup-m", 2100), ("lookup-l", 4100)):
        [layer] = [each for each in create_model(name).modules() if isinstance(each, TableLayer)]
        assert (layer.outputs, layer.fan_in, layer.wiring) == (tables, 4, "learned")
    deep = create_model("lookup-m", tables=[100, 31], fan_in=[6, 4], classes=4, skip=True, in_range=(0, 255))
    assert [(row.input_shape, row.output_shape, row.weights) for row in summary(deep)] == [
        ((64,), (100,), 6400), ((164,), (32,), 512),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: create_model("lookup-s-w1a1"), "lookup-s has tables of bits and no widths: take lookup-s"),
        (lambda: create_model("lookup-s", scheme="integer"), "integer does not quantize: .* its own scheme, lookup"),
        (lambda: create_model("lookup-m", schemes.get("float")), "scheme float does not quantize"),
        (lambda: create_model("tfc-w1a1", scheme="lookup"), "tables of bits and no widths as w1a1"),
        (lambda: create_model("tfc", scheme="lookup"), "quantizes no weights"),
        (lambda: create_model("lookup-x"), "did you mean lookup-"),
        (lambda: create_model("lookup-s", fan_in=9), "fan-in of 9 is outside 2 to 8"),
        (lambda: create_model("lookup-s", tables=[]), "needs layers of 1 table or more"),
        (lambda: create_model("lookup-s", tables=[40, 10], fan_in=[4, 4, 4]), "3 values for 2 layers"),
        (lambda: create_model("lookup-s", tables=[30, 10], wiring=["learned", "tree"]), "no tree over 30 bits"),
        (lambda: create_model("lookup-s", tables=[30], wiring="tree"), "no tree"),
        (lambda: create_model("lookup-s", in_range=(3, 3)), "feature 0 has no range"),
        (lambda: create_model("lookup-s", hidden=[3]), "its options are tables, fan_in, bits"),
        (lambda: schemes.get("lookup", wiring_share=2), "wiring_share=2 is not from 0 to 1"),
        (lambda: compression.prune(create_model("lookup-s")), "no linear or convolution layer"),
    ],
)  # fmt: skip
def test_bad_requests(make, message):
    with pytest.raises(QuantError, match=message) as caught:
        make()
    assert caught.value.status == 2
    assert "\n" not in str(caught.value)


def test_the_summary_compares_only_weights_with_floating_point():
    scheme = schemes.get("integer", weight_bits=4, act_bits=4)
    found = summary(Hybrid(scheme))
    tables, others = ([row for row in found if (row.kind == "lookup") == kind] for kind in (True, False))
    assert len(tables) == 1
    assert found.compression_rate == 8
    assert found.speed_up == sum(1024 * row.macs for row in others) / sum(row.bit_operations for row in others)
    assert found.encoder_bits == found.totals()["encoder_bits"] == 216
    said = str(found).splitlines()[-1]
    assert said.startswith(
        f"tables of {tables[0].weights:,} bits in all, which read {tables[0].macs:,} bits; encoders of"
    )
    assert "the other layers against 32-bit floating point: 8.0 times smaller" in said
    only = summary(model())
    assert (only.compression_rate, only.space_saving, only.speed_up) == (1, 0, 1)
