"""The functions that tables compute, with their gradients. Tensors of bits are feature-major: (features, frames)."""

from typing import Any

import torch

from quant.lookup.scores import WireScores


def addresses(x: torch.Tensor, wires: torch.Tensor) -> torch.Tensor:
    """Returns the address of each table, (O, M) int64, from bits (I, M) and wires (K, O): wire 0 is the lowest bit."""
    fan_in, outputs = wires.shape
    # Bytes: a gather of bits moves an eighth of what one of indices does.
    bits = x.to(torch.uint8).index_select(0, wires.reshape(-1)).view(fan_in, outputs, -1)
    address = bits[-1].clone()
    for bit in bits[:-1].flip(0):
        address.mul_(2).add_(bit)
    return address.long()


def differences(tables: torch.Tensor) -> torch.Tensor:
    """Returns what each input changes at each address, (K, O, 2^K): ``T[a | 2^j] - T[a & ~2^j]`` of tables (O, 2^K).

    It is the derivative of a table's multilinear extension at its corners.
    """
    address = torch.arange(tables.shape[1], device=tables.device)
    bit = 1 << torch.arange(tables.shape[1].bit_length() - 1, device=tables.device)[:, None]
    entries = tables.t()
    return (entries[address | bit] - entries[address & ~bit]).transpose(1, 2).contiguous()


class Lookup(torch.autograd.Function):
    """``y[o] = tables[o, address] > 0``, from bits (I, M), latent tables (O, 2^K) and wires (K, O); y (O, M).

    The gradient passes the comparison unchanged (straight through): that of a latent entry is the sum of those of the
    outputs that read it. That of an input is the output's times the finite difference of the latent table along this
    input, at the frame's address. ``scores`` of the K * O wires, where given, are lowered by these gradients.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        tables: torch.Tensor,
        wires: torch.Tensor,
        scores: WireScores | None,
    ) -> torch.Tensor:
        address = addresses(x, wires)
        ctx.save_for_backward(address, tables, wires, x)
        ctx.scores = scores
        return tables.gather(1, address).gt_(0)

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> Any:
        [dy] = outputs
        address, tables, wires, x = ctx.saved_tensors
        dy = dy.contiguous()
        d_tables = torch.zeros_like(tables).scatter_add_(1, address, dy)
        dx = None
        if ctx.needs_input_grad[0] or ctx.scores is not None:
            fan_in, count = wires.shape
            slopes = differences(tables).gather(2, address.expand(fan_in, -1, -1))
            d_wires = slopes.mul_(dy).view(fan_in * count, -1)
            if ctx.scores is not None:
                ctx.scores.lower(d_wires, x)
            if ctx.needs_input_grad[0]:
                dx = torch.zeros_like(x).index_add_(0, wires.reshape(-1), d_wires)
        return dx, d_tables, None, None


def multilinear(
    x: torch.Tensor,
    tables: torch.Tensor,
    wires: torch.Tensor,
    scores: WireScores | None,
) -> torch.Tensor:
    """The multilinear extension of ``sigmoid(tables)`` at x (I, M) in 0..1: its mean for independent random bits.

    Arguments as for ``Lookup``; the result (O, M) is in 0..1 as well (Petersen et al. 2022).
    """
    inputs = x.index_select(0, wires.reshape(-1)).view(*wires.shape, -1)
    if scores is not None:
        if not inputs.requires_grad:
            inputs.requires_grad_()
        inputs.register_hook(lambda d: scores.lower(d.reshape(wires.numel(), -1), x))
    values = tables.sigmoid()[:, :, None]  # (O, 2^K, 1)
    for bit in inputs.flip(0):  # the highest bit of the address splits the table in halves
        low, high = values.chunk(2, 1)
        values = torch.lerp(low, high, bit[:, None])
    return values[:, 0]
