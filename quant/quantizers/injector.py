"""The type of a Brevitas quantizer. The module imports nothing, so that schemes can be listed without torch."""

from typing import Any

Injector = Any
"""A dependency-injection class of Brevitas, or None for no quantization. The class is falsy: test with ``is None``."""
