"""Training of early exits: joint loss, thresholds from validation frames, figures, and the exported form."""

import copy

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.model import Model
from hw.simulation.emulator import Emulator
from quant import (
    Exits,
    QuantError,
    TrainConfig,
    create_model,
    export,
    fit,
    load_checkpoint,
    load_data,
    save_checkpoint,
    schemes,
    train_run,
)
from quant.errors import QuantWarning
from quant.layers import EarlyExits
from quant.training import exits as of_exits
from quant.training.compress import compress_run
from quant.training.exits import choose_thresholds, exits_of, head_logits, measure_exits
from quant.training.start import start_from
from tests.quant.small_training import model_for, small

VALIDATION = TrainConfig(epochs=3, validation=0.2)


@pytest.fixture(scope="module")
def trained():
    data = load_data("digits")
    torch.manual_seed(0)
    model = create_model("tfc-w2a2", **data.options, hidden=[24, 16, 16], early_exit=[1, 2])
    result = fit(model, data, TrainConfig(epochs=12, validation=0.2, exits=Exits(share=0.4)))
    return data, model, result


def test_each_frame_has_the_logits_of_the_first_confident_head(trained):
    data, model, _ = trained
    x = torch.tensor(data.x_test).float().reshape(-1, 64)
    logits, thresholds = head_logits(model, x).numpy(), model.exits.thresholds.numpy()
    expected = []
    for frame in range(len(x)):
        for head, threshold in enumerate([*thresholds, -np.inf]):
            ordered = np.sort(logits[head, frame])
            if ordered[-1] - ordered[-2] >= threshold:
                expected.append((head, logits[head, frame]))
                break
    heads, rows = zip(*expected, strict=True)
    with torch.no_grad():
        np.testing.assert_array_equal(model(x).numpy(), np.stack(rows))
    assert len(set(heads)) == 3


def test_figures_are_those_of_the_frames(trained):
    data, model, result = trained
    x, y = torch.tensor(data.x_test).float().reshape(-1, 64), torch.tensor(data.y_test)
    logits = head_logits(model, x)
    figures = result.exits["test"]
    assert figures.accuracy == result.test_accuracy == float((model(x).argmax(1) == y).double().mean())
    assert list(figures.heads) == (logits.argmax(2) == y).double().mean(1).tolist()
    top = torch.topk(logits, 2, dim=2).values
    on = (top[:2, :, 0] - top[:2, :, 1]) < model.exits.thresholds[:, None]
    assert figures.going_on[0] == float(on[0].double().mean())
    assert figures.going_on[1] == float(on[1][on[0]].double().mean())
    assert 0.1 < result.exits["validation"].going_on[0] <= 0.4


def test_the_file_is_the_network_and_lowers_to_exits(trained, tmp_path):
    data, model, _ = trained
    frames = data.x_test.reshape(-1, 64).astype(np.float32)
    verified = export(model, tmp_path / "model.onnx", frames)
    assert (verified.max_abs_diff, verified.float32_arg_max_differ) == (0, 0)
    opened = Model.open(tmp_path / "model.onnx")
    assert [node.kernel.op for node in opened.graph if node.kernel.verdict is not None] == [
        "exit", "exit", "merge", "merge",
    ]  # fmt: skip
    assert "heads.1.linear" in [node.origin.module for node in opened.graph]
    with torch.no_grad():
        expected = model(torch.from_numpy(frames)).numpy()
    np.testing.assert_array_equal(Emulator(opened.graph).run(frames), expected)


def test_a_checkpoint_keeps_the_thresholds(trained, tmp_path):
    data, model, _ = trained
    save_checkpoint(model, tmp_path / "checkpoint.pt")
    x = torch.tensor(data.x_test).float().reshape(-1, 64)
    with torch.no_grad():
        assert torch.equal(load_checkpoint(tmp_path / "checkpoint.pt")(x), model(x))


def test_the_loss_is_that_of_all_heads():
    data = small()
    model = create_model("tfc-w2a2", **data.options, early_exit=[1, 2])
    exits = exits_of(model)
    exits.weights = (0.5, 2.0)
    x, y = torch.tensor(data.x_train).float().reshape(-1, 16), torch.tensor(data.y_train)
    last = model(x)
    early, entropy = [each.detach() for each in exits.early], torch.nn.functional.cross_entropy
    copied = copy.deepcopy(model)  # possible in the middle of a step
    found = exits.auxiliary_loss(entropy, y)
    assert float(found.detach()) == pytest.approx(float(0.5 * entropy(early[0], y) + 2 * entropy(early[1], y)))
    (found + entropy(last, y)).backward()
    assert all(head.linear.weight.grad.abs().max() > 0 for head in model.heads.values())
    assert exits.early == exits_of(copied).early == []


class _Fixed(torch.nn.Module):
    """Heads whose logits are the input's."""

    def __init__(self, exits: int) -> None:
        super().__init__()
        self.exits = EarlyExits(schemes.get("float"), exits)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.exits(*x.unbind(1))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 2), st.floats(0.01, 0.99), st.integers(1, 6))
def test_thresholds_let_at_most_the_share_go_on(seed, exits, share, largest):
    random = np.random.default_rng(seed)
    x = torch.tensor(random.integers(0, largest + 1, (80, exits + 1, 3))).float()
    y = torch.tensor(random.integers(0, 3, 80))
    model = _Fixed(exits)
    gaps = of_exits.margins(x[:, :exits].transpose(0, 1))
    choose_thresholds(model, Exits(share), x, y)
    found = measure_exits(model, x, y)
    reach = torch.ones(80, dtype=torch.bool)
    for gap, threshold, going_on in zip(gaps, model.exits.thresholds, found.going_on, strict=True):
        assert not (gap == threshold).any()
        assert gap.min() < threshold < gap.max()
        here = gap[reach]
        if len(here.unique()) > 1:
            assert going_on <= max(share, float((here == here.min()).double().mean())) + 1e-9
        reach &= gap < threshold


def test_the_fewest_frames_go_on_that_keep_the_accuracy():
    random = np.random.default_rng(0)
    y = torch.tensor(random.integers(0, 3, 400))
    right = torch.nn.functional.one_hot(y, 3).float()
    first = right + torch.tensor(random.normal(0, 0.6, (400, 3))).float()  # wrong, mostly where it is least sure
    x = torch.stack([first, right], 1)
    model = _Fixed(1)
    shares = {}
    for drop in (0.0, 0.1):
        choose_thresholds(model, Exits(drop=drop), x, y)
        found = measure_exits(model, x, y)
        assert found.accuracy >= found.heads[-1] - drop
        shares[drop] = found.going_on[0]
    assert shares[0.1] < shares[0.0] < 1
    with pytest.warns(QuantWarning, match="no early exit keeps the accuracy"):
        choose_thresholds(model, Exits(), torch.stack([right.roll(1, 1), right], 1) + 0.01 * x, y)
    with pytest.raises(QuantError, match="all validation frames have the same margin"):
        choose_thresholds(model, Exits(0.5), torch.stack([right, right], 1), y)


def test_early_exits_start_from_a_network_without():
    data = small()
    plain, started = model_for(data, "tfc-w2a2"), create_model("tfc-w2a2", **data.options, early_exit=1)
    start_from(started, plain)
    assert torch.equal(started.hidden[0].linear.weight, plain.hidden[0].linear.weight)


@pytest.mark.parametrize(
    ("name", "options", "config", "message"),
    [
        ("tfc-w2a2", {"early_exit": 3}, VALIDATION, "is behind one of the blocks 1 to 2"),
        ("tfc-w2a2", {"early_exit": [2, 1]}, VALIDATION, "several are a list in order"),
        ("lookup-s", {"early_exit": 1}, VALIDATION, "has no blocks in a row"),
        ("tfc-w2a2", {"early_exit": 1}, TrainConfig(epochs=1), "give validation=0.1"),
        ("tfc-w2a2", {}, TrainConfig(validation=0.1, exits=Exits(0.5)), "has no early exits"),
        ("tfc-w2a2", {"early_exit": 1}, TrainConfig(validation=0.1, exits=Exits(weights=(1, 1))), "2 exit weights for"),
    ],
)
def test_what_is_impossible_is_said_in_one_line(name, options, config, message):
    data = small()
    with pytest.raises(QuantError, match=message) as error:
        fit(create_model(name, **data.options, **options), data, config)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "given", [{"share": 0}, {"share": 1}, {"drop": -0.1}, {"share": 0.5, "drop": 0.1}, {"weights": (0,)}]
)
def test_settings_out_of_range(given):
    with pytest.raises(QuantError, match="exit"):
        Exits(**given)


def test_numbers_have_no_margin():
    targets = {"task": "regression", "offset": [0.0], "scale": [1.0]}
    with pytest.raises(QuantError, match="margin of classes"):
        create_model("tfc-w8a8", early_exit=1, classes=1, targets=targets)


@pytest.mark.parametrize(
    ("name", "shape", "after"),
    [("lenet5-w4a4", (1, 16, 16), [1, 2]), ("resnet8-w2a2", (1, 8, 8), 2)],
)
def test_families_of_convolutions_lower_with_exits(name, shape, after, tmp_path):
    torch.manual_seed(0)
    model = create_model(name, input_shape=shape, early_exit=after, width=0.25)
    frames = np.random.default_rng(0).integers(0, 256, (16, *shape)).astype(np.float32)
    model(torch.from_numpy(frames))  # scales
    model.eval().exits.thresholds.fill_(0.3)
    export(model, tmp_path / "model.onnx", frames)
    assert any(node.op_type == "Where" for node in onnx.load(tmp_path / "model.onnx").graph.node)
    assert any(node.kernel.op == "exit" for node in Model.open(tmp_path / "model.onnx").graph)


def test_a_training_within_a_compression_has_frames_for_the_thresholds(tmp_path):
    train_run("tfc-w2a2", tmp_path / "run", TrainConfig(epochs=1, validation=0.2), model_options={"early_exit": 1})
    options = {"criterion": "slimming", "penalty_epochs": 1}
    compress_run(tmp_path / "run", tmp_path / "small", "slim", options=options, epochs=1)
    small = load_checkpoint(tmp_path / "small/checkpoint.pt")
    assert np.isfinite(exits_of(small).thresholds.numpy()).all()
    assert small.hidden[0].linear.out_features < 64
