"""Powers of two near numbers, with which multiplications become shifts; found in the numbers' own bits.

A float's bits, taken as an integer, are its exponent above its mantissa: what is added to the mantissa carries into the
exponent where the number is to be rounded up, and then the mantissa is cleared.
"""

import math

import torch

# type -> (integer type of that size, bits of the mantissa)
_LAYOUT = {
    torch.bfloat16: (torch.int16, 7),
    torch.float16: (torch.int16, 10),
    torch.float32: (torch.int32, 23),
    torch.float64: (torch.int64, 52),
}


def ap2(x: torch.Tensor) -> torch.Tensor:
    """``sign(x) * 2**round(log2|x|)``, exactly; 0 for 0. No gradient.

    Numbers below the least normal one of their type become that or 0.
    """
    integer, mantissa = _LAYOUT[x.dtype]
    # sqrt(2), the bound between 1 and 2, is no float: the least mantissa that carries is that of the next greater one
    carry = 2 ** (mantissa + 1) - (math.isqrt(2 * 4**mantissa) + 1)
    return x.detach().view(integer).add(carry).bitwise_and_(-(2**mantissa)).view(x.dtype)


def random_power_of_two(x: torch.Tensor) -> torch.Tensor:
    """``sign(x) * 2**(floor(log2|x|) + b)``; 0 for 0. No gradient.

    b is 1 with probability ``|x| / 2**floor(log2|x|) - 1`` and else 0, so the mean is x.
    """
    integer, mantissa = _LAYOUT[x.dtype]
    noise = torch.randint(2**mantissa, x.shape, dtype=integer, device=x.device)
    return noise.add_(x.detach().view(integer)).bitwise_and_(-(2**mantissa)).view(x.dtype)
