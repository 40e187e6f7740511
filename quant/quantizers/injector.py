"""The type of a Brevitas quantizer. It imports nothing, so that schemes can be listed without torch."""

from typing import Any

Injector = Any
"""A dependency-injection class of Brevitas, which is falsy (compare with ``is None``), or None for no quantization."""
