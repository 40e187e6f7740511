"""The mixture prior against its formulas, its merging, and a training with it."""

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from quant import TrainConfig, compression, fit
from quant.compression.forms import Shared
from quant.compression.mixture import OTHERS_PRIOR, ZERO_PRIOR, Mixture, share_by_mixture
from quant.compression.weights import compressing, compression_of, find_layers, weight_of
from quant.errors import QuantError
from quant.training.soft_sharing import MixturePrior, default_epochs, soft_sharing
from tests.quant.compressed import convolutional, digits, trained_network


def mixture(seed: int = 0, components: int = 5) -> Mixture:
    made = Mixture(components, zero=0.7, reach=0.8, deviation=0.3).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return made


@pytest.mark.quick
def test_density_and_all_gradients_are_the_formulas():
    made, w = mixture(), torch.randn(40, dtype=torch.float64).requires_grad_()
    means = torch.cat([torch.zeros(1), made.means.detach()])
    s = torch.exp(-made.log_precisions.detach() / 2)
    shares = torch.cat([torch.tensor([0.7]), 0.3 * torch.softmax(made.log_proportions.detach(), 0)])
    normal = torch.distributions.Normal(means, s).log_prob(w.detach()[:, None]).exp()
    p = (shares * normal).sum(1)
    shape = torch.tensor([ZERO_PRIOR[0]] + [OTHERS_PRIOR[0]] * 4)
    rate = torch.tensor([ZERO_PRIOR[1]] + [OTHERS_PRIOR[1]] * 4)
    gamma = torch.distributions.Gamma(shape, rate)
    constant = (shape * rate.log() - torch.lgamma(shape)).sum()  # of the priors, which the penalty leaves out
    expected = -p.log().sum() - gamma.log_prob(s**-2).sum() + constant
    loss = made.penalty(w)
    torch.testing.assert_close(loss.detach(), expected.double(), rtol=1e-5, atol=0)
    loss.backward()
    r = shares * normal / p[:, None]
    away = w.detach()[:, None] - means
    torch.testing.assert_close(w.grad, (r * away / s**2).sum(1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(made.means.grad, -(r * away / s**2).sum(0)[1:], rtol=1e-5, atol=1e-6)
    # d/d(log lambda) of -log p and of the gamma priors
    by_precision = -0.5 * (r * (1 - away**2 / s**2)).sum(0) + rate / s**2 - (shape - 1)
    torch.testing.assert_close(made.log_precisions.grad, by_precision.double(), rtol=1e-5, atol=1e-4)
    inner = torch.softmax(made.log_proportions.detach(), 0)
    by_share = -(r[:, 1:].sum(0) - inner * r[:, 1:].sum())
    torch.testing.assert_close(made.log_proportions.grad, by_share, rtol=1e-5, atol=1e-6)


def test_equal_components_merge_and_the_density_stays():
    made = Mixture(5, zero=0.6, reach=0.5, deviation=0.1)
    with torch.no_grad():
        made.means.copy_(torch.tensor([-0.4, 0.3, 0.3, 0.0]))
        made.log_proportions.copy_(torch.tensor([0.0, 1.0, -1.0, 0.5]))
    few, w = made.merged(), torch.linspace(-1, 1, 50)
    assert sorted(few.components()[0].tolist()) == pytest.approx([-0.4, 0.0, 0.3])
    assert few.components()[0][0] == 0
    torch.testing.assert_close(torch.logsumexp(few.joint(w), 1), torch.logsumexp(made.joint(w), 1))
    assert len(mixture().merged().log_precisions) == 5


def test_a_weight_becomes_the_mean_of_its_most_responsible_component():
    model = compression.prune(convolutional(), 0.1)
    made = Mixture(9, zero=0.5, reach=0.3, deviation=0.02)
    small = share_by_mixture(model, made)
    forms = [compression_of(small[i]) for i in (0, 3, 6)]
    assert all(isinstance(form, Shared) and form.values is forms[0].values for form in forms)
    for i in (0, 3, 6):
        before, after = weight_of(model[i]), weight_of(small[i])
        means, precisions, logs = made.components()
        best = (logs + 0.5 * precisions.log() - 0.5 * precisions * (before.double()[..., None] - means) ** 2).argmax(-1)
        torch.testing.assert_close(after, torch.where(before == 0, 0.0, means[best]).float(), rtol=1e-6, atol=1e-7)


class Stopped(Exception):
    pass


class StopBeforeTheSecondEpoch(Callback):
    def on_train_epoch_start(self, trainer, *_):
        if trainer.current_epoch == 1:
            raise Stopped


def test_training_is_the_formula_resumes_and_leaves_few_values(tmp_path):
    data, model = digits(), trained_network()
    config = TrainConfig(epochs=2, learning_rate=(5e-4, 5e-4))
    options = {"tau": 0.05, "reach": 0.4, "deviation": 0.05, "zero": 0.5}
    whole = soft_sharing(model, data, config, **options)
    assert {"values"} == {key.rsplit(".", 1)[1] for key, p in whole.named_parameters() if ".form." in key}
    for layer in find_layers(whole).values():
        assert len(weight_of(layer).unique()) <= 16

    with compressing(model) as (first, _):
        prior = MixturePrior(first, Mixture(16, 0.5, 0.4, 0.05), 0.05 / len(data.x_train))
    with pytest.raises(Stopped):
        fit(first, data, config, callbacks=[prior, StopBeforeTheSecondEpoch()], checkpoint=tmp_path)
    resumed = soft_sharing(model, data, config, **options, checkpoint=tmp_path, resume=True)
    for a, b in zip(find_layers(whole).values(), find_layers(resumed).values(), strict=True):
        assert torch.equal(weight_of(a), weight_of(b))


def test_bad_input():
    model = trained_network()
    for call, words in (
        (lambda: soft_sharing(model, digits(), tau=0.0), "tau=0.0"),
        (lambda: Mixture(1), "components=1"),
        (lambda: Mixture(zero=1.0), "zero=1.0"),
        (lambda: Mixture(reach=-1.0), "reach=-1.0"),
        (lambda: soft_sharing(compression.share_weights(model, 4), digits()), "layer hidden.0.linear has shared"),
        (lambda: share_by_mixture(model, Mixture(3, 0.999, 50.0, 1.0)), "has set every weight of layer"),
    ):
        with pytest.raises(QuantError, match=words) as caught:
            call()
        assert caught.value.status == 2
    assert default_epochs(digits(), 100) == 500
