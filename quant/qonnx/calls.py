"""One call of a model: which modules it calls, what it returns, and where it fails."""

import os
import traceback
from pathlib import Path
from typing import Any

import torch
from brevitas.quant_tensor import QuantTensor

from quant.errors import QuantError

_PACKAGES = (Path(__file__).parents[1], Path(torch.__file__).parents[1], Path(os.__file__).parent)
"""The folders of ``quant``, of installed packages, and of Python's own."""
_UNEQUAL = {
    "Scaling factors are different": "scales",
    "Zero points are different": "zero points",
    "Bit widths are different": "bit widths",
    "Signs are different": "signs",
}
"""Brevitas's messages for sums and concatenations of quantized tensors -> what differs."""


class Running:
    """Follows the calls of a model's modules: ``called`` are the paths of all, in order; ``stack`` those that run.

    After a failure ``stack`` holds the modules in which it occurred, the outermost first.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.called: dict[str, torch.nn.Module] = {}
        self.stack: list[str] = []
        self.hooks: list[Any] = []
        for path, module in model.named_modules():
            if path:
                self.hooks.append(module.register_forward_pre_hook(self._enter(path)))
                self.hooks.append(module.register_forward_hook(self._leave))

    def _enter(self, path: str) -> Any:
        def hook(module: torch.nn.Module, _inputs: Any) -> None:
            self.called.setdefault(path, module)
            self.stack.append(path)

        return hook

    def _leave(self, _module: Any, _inputs: Any, _output: Any) -> None:
        self.stack.pop()

    def remove(self) -> None:
        """Takes the hooks away."""
        for each in self.hooks:
            each.remove()

    def failure(self, error: Exception) -> QuantError:
        """Returns the one line for an exception of a module, of torch's exporter, or of Brevitas."""
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip()
        reason = reason.split("  [Caused by")[0]  # torch's exporter writes the graph behind it
        layer = f"its layer {self.stack[-1]}" if self.stack else "the model"
        line = _user_line(error)
        if reason in _UNEQUAL:
            return QuantError(
                f"{layer} joins quantized tensors of different {_UNEQUAL[reason]}{line}: add them with "
                "quant.layers.Add, or pass both through the same QuantIdentity first"
            )
        return QuantError(f"{layer} cannot be exported: {reason}{line}")


def _user_line(error: Exception) -> str:
    """The last line of the user's own code in a traceback, `` (net.py, line 12)``; empty without one."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.is_file() and not any(file.absolute().is_relative_to(each) for each in _PACKAGES):
            return f" ({file.name}, line {frame.lineno})"
    return ""


def call_once(model: torch.nn.Module, frame: torch.Tensor) -> dict[str, torch.nn.Module]:
    """Calls a model in eval mode with one frame; returns the modules that it calls, by path.

    Raises QuantError for a model that fails, or that returns something else than tensors.
    """
    running = Running(model)
    try:
        with torch.no_grad():
            outputs_of(model(frame))
    except QuantError:
        raise
    except Exception as error:  # the user's modules can raise any type
        raise running.failure(error) from error
    finally:
        running.remove()
    return running.called


def outputs_of(output: Any) -> list[torch.Tensor]:
    """Returns a model's outputs: a tensor, one of Brevitas's quantized tensors, or several in tuples, lists and dicts.

    Raises QuantError for anything else.
    """
    if isinstance(output, QuantTensor):
        return [output.value]
    if isinstance(output, torch.Tensor):
        return [output]
    if isinstance(output, dict):
        output = list(output.values())
    if not isinstance(output, list | tuple) or not output:
        raise QuantError(f"it returns {type(output).__name__}, no tensor: return tensors")
    return [each for part in output for each in outputs_of(part)]
