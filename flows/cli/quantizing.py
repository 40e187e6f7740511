"""The command ``bitfabric quantize``."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.arguments import AsJson, emit


def quantize(
    source: Annotated[Path, typer.Argument(metavar="FLOAT.onnx", help="a float network with one input and one output")],
    calibration: Annotated[
        Path,
        typer.Option(
            "--calibration", "-c", metavar="X.npy",
            help="frames (N, ...) as the file takes them, like those in use: the first 256 measure the ranges",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RUN/", help="folder for model.onnx and quantize.json")],
    labels: Annotated[Path | None, typer.Option(metavar="Y.npy", help="their classes: accuracies too")] = None,
    weight_bits: Annotated[int, typer.Option(help="width of weights: 4, 8 or 16")] = 8,
    act_bits: Annotated[int, typer.Option(help="width of activations: 4, 8 or 16")] = 8,
    per_channel: Annotated[
        bool, typer.Option("--per-channel", help="weights have one scale for each output channel")
    ] = False,
    symmetric: Annotated[
        bool, typer.Option("--symmetric", help="activations are signed, without a zero point")
    ] = False,
    method: Annotated[str, typer.Option(help="how ranges are measured: minmax, percentile or entropy")] = "minmax",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Quantize a float ONNX file after training, with ONNX Runtime's quantizer, and check that the hardware reads it.

    Example: bitfabric quantize float.onnx --calibration x.npy --labels y.npy -o run/

    A network of PyTorch: quant.quantize in Python, with 2 to 16 bits, power-of-two scales, and training from there.
    """
    from flows.cli.render_training import quantized
    from flows.float_onnx import quantize_onnx
    from flows.frames import load_labels
    from flows.progress import working
    from hw.host.arrays import load_array
    from hw.host.files import make_folder, write_json

    x = load_array(calibration)
    y = load_labels(labels, len(x)) if labels else None
    folder = make_folder(out)
    with working(f"quantizing {source.name}"):
        result = quantize_onnx(
            source, folder / "model.onnx", x, y,
            weight_bits=weight_bits, act_bits=act_bits, per_channel=per_channel, symmetric=symmetric, method=method,
        ).to_json()  # fmt: skip
    write_json(folder / "quantize.json", result)
    if as_json:
        emit(result)
    else:
        quantized(result)
