"""Reference networks, created by name: ``create_model("tfc-w1a1", in_features=64, classes=10)``.

A name consists of a family and the widths of weights and activations: ``tfc-w1a1``, ``vgg-small-w1a2``,
``tfc-wternarya2``. The widths select the scheme: ``binarynet`` for w1a1, ``binaryconnect`` for w1aN, ``integer`` for up
to 8 bits and ternary weights, ``fixed_point`` for larger widths, and no quantization for ``tfc-float``. Another scheme
can be requested by name.

Families: ``tfc``, ``sfc``, ``lfc``, ``lenet-300-100``, ``jsc-mlp``, ``kws-mlp`` (fully connected), ``cnv``, ``lenet5``,
``lenet5-caffe``, ``vgg-small``, ``vgg16``, ``vgg19``, ``alexnet`` (convolutions), ``nin``, ``all-cnn-c``,
``squeezenet`` (the last convolution gives the classes), ``resnet8``, ``resnet20``, ``resnet56``, ``resnet110``
(residual), ``mobilenet-v1``, ``mobilenet-v2`` (depthwise separable). The tables of
``lookup-s``, ``lookup-m`` and ``lookup-l`` (lookup networks) have no widths. The families with
convolutions have the option ``width``, a factor for all channels.
"""

from quant.models.registry import choose_scheme, create_model, list_models, register_model

__all__ = ["choose_scheme", "create_model", "list_models", "register_model"]
