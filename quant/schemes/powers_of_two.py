"""AP2, the nearest power of two in ratio, with which BinaryNet's authors replace multiplications by shifts."""

import math

import numpy as np
import torch

# The least number of each type above sqrt(1/2), which is no number of either.
_ABOVE_ROOT = {
    torch.float32: float(np.nextafter(np.float32(math.sqrt(0.5)), np.float32(1))),
    torch.float64: math.sqrt(0.5),
}


def ap2(x: torch.Tensor) -> torch.Tensor:
    """``sign(x) * 2**round(log2|x|)``, exactly, of float32 or float64; 0 for 0. No gradient."""
    mantissa, exponent = torch.frexp(x.detach())  # 1/2 <= |mantissa| < 1
    lower = (mantissa.abs() < _ABOVE_ROOT[x.dtype]).to(exponent.dtype)
    return torch.ldexp(torch.sign(mantissa), exponent - lower)
