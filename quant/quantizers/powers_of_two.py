"""Rounding to powers of two, which turns multiplications into shifts. It works on the bits of the floats.

The bits of a float, read as an integer, are its exponent above its mantissa. An addend to the mantissa carries into the
exponent if the number must be rounded up; then the mantissa is cleared.
"""

import math

import torch

# type -> (integer type of the same size, bits of the mantissa)
_LAYOUT = {
    torch.bfloat16: (torch.int16, 7),
    torch.float16: (torch.int16, 10),
    torch.float32: (torch.int32, 23),
    torch.float64: (torch.int64, 52),
}


def ap2(x: torch.Tensor) -> torch.Tensor:
    """Returns ``sign(x) * 2**round(log2|x|)``, exactly; 0 for 0. No gradient.

    A number below the smallest normal number of its type becomes that number or 0.
    """
    integer, mantissa = _LAYOUT[x.dtype]
    # sqrt(2), the bound between 1 and 2, is not a float: the smallest mantissa that carries is that of the next float
    carry = 2 ** (mantissa + 1) - (math.isqrt(2 * 4**mantissa) + 1)
    return x.detach().view(integer).add(carry).bitwise_and_(-(2**mantissa)).view(x.dtype)


def random_power_of_two(x: torch.Tensor) -> torch.Tensor:
    """Returns ``sign(x) * 2**(floor(log2|x|) + b)``; 0 for 0. No gradient.

    b is 1 with probability ``|x| / 2**floor(log2|x|) - 1``, else 0, so that the mean is x.
    """
    integer, mantissa = _LAYOUT[x.dtype]
    noise = torch.randint(2**mantissa, x.shape, dtype=integer, device=x.device)
    return noise.add_(x.detach().view(integer)).bitwise_and_(-(2**mantissa)).view(x.dtype)
