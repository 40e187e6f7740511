"""The command ``bitfabric quantize``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.arguments import AsJson, emit, rates

_FILE = "Of an ONNX file"
_TORCH = "Of a network of PyTorch"


def quantize(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="a float network: FLOAT.onnx with one input and one output, the folder RUN/ of a training, or "
            "MODULE.py:FUNCTION, whose code is run and returns a trained network",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RUN/", help="folder for model.onnx and the measurements")
    ],
    weight_bits: Annotated[
        int, typer.Option(help="width of weights: of an ONNX file 4, 8 or 16; else 2 to 16")
    ] = 8,
    act_bits: Annotated[int, typer.Option(help="width of activations: likewise")] = 8,
    per_channel: Annotated[
        bool, typer.Option("--per-channel", help="weights have one scale for each output channel")
    ] = False,
    method: Annotated[
        str | None,
        typer.Option(
            help="how ranges are measured: of an ONNX file minmax (default), percentile or entropy; else mse "
            "(default), percentile or max"
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration", "-c", metavar="X.npy", rich_help_panel=_FILE,
            help="frames (N, ...) as the file takes them, like those in use: the first 256 measure the ranges",
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="Y.npy", rich_help_panel=_FILE, help="their classes: accuracies too")
    ] = None,
    symmetric: Annotated[
        bool,
        typer.Option("--symmetric", rich_help_panel=_FILE, help="activations are signed, without a zero point"),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_TORCH,
            help="a data set's name, a folder or a file, as for bitfabric train: its training set calibrates, its "
            "test set is measured on (default: the run's)",
        ),
    ] = None,
    test_share: Annotated[
        float | None,
        typer.Option(rich_help_panel=_TORCH, help="share of samples for the test set, where the data have none"),
    ] = None,
    scales: Annotated[
        str | None,
        typer.Option(rich_help_panel=_TORCH, help="power-of-two (default), so that hardware shifts, or free"),
    ] = None,
    rounding: Annotated[
        str | None,
        typer.Option(rich_help_panel=_TORCH, help="of weights: nearest (default), gptq or gpfq"),
    ] = None,
    in_bits: Annotated[
        int | None,
        typer.Option(rich_help_panel=_TORCH, help="width of the input (default: as its values need, at most 8)"),
    ] = None,
    sum_bits: Annotated[
        int | None, typer.Option(rich_help_panel=_TORCH, help="width of the operands of residual sums (default: 8)")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=0, rich_help_panel=_TORCH, help="of training that follows (default: 0)")
    ] = None,
    learning_rate: Annotated[
        str | None, typer.Option(metavar="FIRST[:LAST]", rich_help_panel=_TORCH, help="of it (default: 2e-4:1e-6)")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(rich_help_panel=_TORCH, help="of MODULE.py:FUNCTION: of the split and the order")
    ] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Quantize a float network after training, and check that the hardware computes the same integers.

    An ONNX file is quantized by ONNX Runtime's quantizer; a network of PyTorch by Brevitas's, with training from there.

    Example: bitfabric quantize float.onnx --calibration x.npy --labels y.npy -o run/

    Example: bitfabric quantize net.py:trained --data photos/ --weight-bits 4 --act-bits 4 --epochs 3 -o run/
    """
    of_file = {"--calibration": calibration, "--labels": labels, "--symmetric": symmetric or None}
    of_torch = {
        "--data": data, "--test-share": test_share, "--scales": scales, "--rounding": rounding, "--in-bits": in_bits,
        "--sum-bits": sum_bits, "--epochs": epochs, "--learning-rate": learning_rate, "--seed": seed,
    }  # fmt: skip
    if source.lower().endswith(".onnx"):
        _refuse(of_torch, "a network of PyTorch", f"{source} is an ONNX file")
        if calibration is None:
            raise typer.BadParameter(f"{source} needs --calibration, frames as it takes them")
        _onnx_file(
            Path(source), calibration, out, labels, as_json,
            weight_bits=weight_bits, act_bits=act_bits, per_channel=per_channel, symmetric=symmetric,
            method=method or "minmax",
        )  # fmt: skip
        return
    _refuse(of_file, "an ONNX file", f"{source} is a network of PyTorch, whose frames are --data")
    from flows.cli.render_training import quantized_run
    from quant import quantize_run

    chosen = {"method": method, "scales": scales, "weights": rounding, "in_bits": in_bits, "sum_bits": sum_bits}
    options: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    result = quantize_run(
        source, out,
        data=data, data_options=None if test_share is None else {"test_share": test_share},
        options={"weight_bits": weight_bits, "act_bits": act_bits, "per_channel": per_channel, **options},
        epochs=epochs or 0, learning_rate=None if learning_rate is None else rates(learning_rate), seed=seed,
        progress=not as_json,
    )  # fmt: skip
    result.pop("rank")
    if as_json:
        emit(result)
    else:
        quantized_run(result, out)


def _refuse(given: dict[str, Any], what: str, but: str) -> None:
    """Raises BadParameter for the first option that is given."""
    for name, value in given.items():
        if value is not None:
            raise typer.BadParameter(f"{name} is for {what}, and {but}")


def _onnx_file(source: Path, calibration: Path, out: Path, labels: Path | None, as_json: bool, **settings: Any) -> None:
    from flows.cli.render_training import quantized
    from flows.float_onnx import quantize_onnx
    from flows.frames import load_labels
    from flows.progress import working
    from hw.host.arrays import load_array
    from hw.host.files import filled_folder, write_json

    x = load_array(calibration)
    y = load_labels(labels, len(x)) if labels else None
    with filled_folder(out) as folder:
        with working(f"quantizing {source.name}"):
            result = quantize_onnx(source, folder / "model.onnx", x, y, **settings).to_json()
        write_json(folder / "quantize.json", result)
    if as_json:
        emit(result)
    else:
        quantized(result)
