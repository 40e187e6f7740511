"""Reference networks, made by name: ``create_model("tfc-w1a1", in_features=64, classes=10)``.

A name is a family and the widths of weights and activations: ``tfc-w1a1``, ``sfc-w2a2``, ``tfc-wternarya2``. The
widths choose the scheme: w1a1 BinaryNet, w1aN BinaryConnect, up to 8 bits and ternary ``integer``, wider
``fixed_point``; another scheme can be asked for by name.
"""

from quant.models.registry import create_model, list_models, register_model

__all__ = ["create_model", "list_models", "register_model"]
