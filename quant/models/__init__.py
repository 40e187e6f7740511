"""Reference networks, made by name: ``create_model("tfc-w1a1", in_features=64, classes=10)``.

A name is a family and the widths of weights and activations: ``tfc-w1a1``, ``vgg-small-w1a2``, ``tfc-wternarya2``. The
widths choose the scheme: w1a1 BinaryNet, w1aN BinaryConnect, up to 8 bits and ternary ``integer``, wider
``fixed_point``, and ``tfc-float`` no quantization; another scheme can be asked for by name.

Families: ``tfc``, ``sfc``, ``lfc``, ``jsc-mlp``, ``kws-mlp`` (fully connected), ``cnv``, ``lenet5``, ``vgg-small``
(convolutions), ``resnet8``, ``resnet20`` (residual), ``mobilenet-v1`` (depthwise separable). Those with convolutions
take ``width``, a factor of all channels.
"""

from quant.models.registry import choose_scheme, create_model, list_models, register_model

__all__ = ["choose_scheme", "create_model", "list_models", "register_model"]
