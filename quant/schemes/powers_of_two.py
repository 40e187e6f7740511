"""AP2, the nearest power of two in ratio, with which BinaryNet's authors replace multiplications by shifts."""

import math

import torch


def ap2(x: torch.Tensor) -> torch.Tensor:
    """``sign(x) * 2**round(log2|x|)``, exactly; 0 for 0. No gradient."""
    mantissa, exponent = torch.frexp(x.detach())  # 1/2 <= |mantissa| < 1; no float is sqrt(1/2), so there are no ties
    size = mantissa.abs()
    lower = (size < math.sqrt(0.5)).to(exponent.dtype)
    return torch.ldexp(torch.sign(mantissa), exponent - lower)
