"""What the product makes of every network on every family, as text that can be kept and compared."""

import json
from pathlib import Path
from typing import Any

from tests.golden import product
from tests.golden.networks import NETWORKS


def record(name: str, folder: Path) -> dict[str, str]:
    """The record of a network, file name -> text: its plans, and its top module on the first target."""
    network, model = NETWORKS[name], folder / f"{name}.onnx"
    network.make(model)
    result: dict[str, Any] = {**product.lowered(model), "targets": {}}
    top = ""
    for target in product.TARGETS:
        asked = network.asked(target)
        plan, text = product.planned(model, target, asked)
        result["targets"][target] = {"asked": asked, **plan}
        top = top or text
    text = as_text(result).replace(str(folder), "<tmp>")
    return {f"networks/{name}.json": text, f"networks/{name}.top.txt": top}


def as_text(content: Any) -> str:
    """JSON with a line for every fact."""
    return json.dumps(content, indent=1) + "\n"


def kernels(folder: Path) -> dict[str, str]:
    """The facts of every kernel over a grid of parameters."""
    del folder
    return {"kernels.json": as_text({name: product.kernel_facts(kernel) for name, kernel in product.kernels().items()})}


def modules(folder: Path) -> dict[str, str]:
    """A hash of every packaged SystemVerilog file."""
    del folder
    return {"modules.json": as_text(product.modules())}
