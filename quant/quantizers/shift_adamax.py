"""Shift-based AdaMax: the infinity-norm variant of Adam with divisions by powers of two."""

from collections.abc import Callable, Iterable
from typing import Any

import torch

from quant.errors import QuantError
from quant.quantizers.powers_of_two import ap2


class ShiftAdaMax(torch.optim.Optimizer):
    """Shift-based AdaMax.

    For each parameter w with gradient g, in step t::

        m = beta1 * m + (1 - beta1) * g
        v = AP2(max(beta2 * v, |g|))
        w = w - AP2(lr / (1 - beta1**t)) * m / v

    ``AP2(x) = sign(x) * 2**round(log2|x|)``. v and the learning rate are powers of two, so the division and the
    multiplication are shifts. The ``lr`` of a parameter group includes the weight's Glorot factor; the product is
    rounded to a power of two (the authors multiply by the factor after AP2). The scheme clips the weights.

    ``parameters``: parameters or groups, as for every torch optimizer. Raises QuantError (status 2) for a learning rate
    or betas out of range.

    Courbariaux, Hubara, Soudry, El-Yaniv, Bengio: "Binarized neural networks: Training neural networks with weights and
    activations constrained to +1 or -1", 2016.
    """

    def __init__(
        self, parameters: Iterable[Any], lr: float = 2.0**-10, betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        if lr <= 0 or not all(0 <= beta < 1 for beta in betas):
            raise QuantError(f"ShiftAdaMax: lr={lr} is not positive or betas={betas} are not in [0, 1)", status=2)
        super().__init__(parameters, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Updates every parameter that has a gradient. Returns the result of ``closure``, or None without one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["step"] = torch.tensor(0.0)
                    state["exp_avg"] = torch.zeros_like(parameter)
                    state["exp_inf"] = torch.zeros_like(parameter)
                state["step"] += 1
                rate = ap2(torch.tensor(group["lr"] / (1 - beta1 ** int(state["step"]))))
                mean = state["exp_avg"].lerp_(parameter.grad, 1 - beta1)
                largest = torch.maximum(state["exp_inf"].mul_(beta2), parameter.grad.abs())
                # If all gradients were 0 so far, m is 0, and the update is 0 / tiny = 0.
                state["exp_inf"] = ap2(largest.clamp_(min=torch.finfo(parameter.dtype).tiny))
                parameter.addcdiv_(mean, state["exp_inf"], value=-float(rate))
        return loss
