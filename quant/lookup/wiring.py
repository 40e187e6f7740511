"""Wirings: which bits the tables of a layer read."""

from typing import Any, Literal

import torch

from quant.errors import QuantError

Wiring = Literal["learned", "random"]
"""``learned``: at random, until a training learns it. ``random``: at random, and so it stays."""


def random_wires(fan_in: int, outputs: int, candidates: torch.Tensor) -> torch.Tensor:
    """Returns wires (fan_in, outputs) to ``candidates`` (C,), each of which is read equally often, or once more.

    The wires of a table differ where there are enough candidates.
    """
    count = len(candidates)
    drawn = [torch.randperm(count) for _ in range(-(-fan_in * outputs // count))]
    wires = torch.cat(drawn)[: fan_in * outputs].view(outputs, fan_in).t()
    if count >= fan_in:
        for _ in range(100):  # a table across the end of a permutation can read a bit twice
            ordered = wires.sort(0).values
            twice = (ordered[1:] == ordered[:-1]).any(0)
            if not twice.any():
                break
            wires = wires.clone()
            wires[:, twice] = torch.randint(count, (fan_in, int(twice.sum())))
    return candidates[wires.to(candidates.device)].contiguous()


def fixed_wires(name: str, wires: Any, inputs: int, outputs: int, fan_in: int) -> torch.Tensor:
    """Returns a user's wires (outputs, fan_in) as a tensor (fan_in, outputs).

    Raises QuantError (status 2) for another shape, and for wires to no input.
    """
    try:
        found = torch.as_tensor(wires)
    except (TypeError, ValueError, RuntimeError) as error:  # rows of different length, texts, None
        raise QuantError(
            f"{name}: the wiring is no table of whole numbers ({outputs}, {fan_in}): {error}", status=2
        ) from error
    if found.is_floating_point() or found.dtype == torch.bool or found.shape != (outputs, fan_in):
        raise QuantError(
            f"{name}: wiring of {found.dtype} {tuple(found.shape)} is no table of whole numbers ({outputs}, {fan_in}): "
            "one row for each output, one column for each wire",
            status=2,
        )
    wrong = (found < 0) | (found >= inputs)
    if wrong.any():
        output, wire = wrong.nonzero()[0].tolist()
        raise QuantError(
            f"{name}: wire {wire} of output {output} goes to input {int(found[output, wire])}, and there are inputs "
            f"0..{inputs - 1} only: wire it to one of them",
            status=2,
        )
    return found.long().t().contiguous()
