"""The command ``bitfabric train``: its options, and what it does with them."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from flows.cli import data_arguments as own
from flows.cli import train_settings as settings
from flows.cli.arguments import AsJson, emit, pairs, rates
from flows.cli.interrupts import resumable
from flows.cli.warning_lines import warnings_in_one_line
from quant.data.choices import Task
from quant.distillation.settings import TERMS
from quant.training.config import (
    Augmentation,
    Bias,
    ChannelPenalty,
    Criterion,
    Log,
    Loss,
    Slimming,
    TrainConfig,
)
from quant.training.width_search import CostPart

_PRUNING = "Pruning during the training"
_SLIMMING = "Penalty on channels, for bitfabric compress --method slim --criterion NAME"
_TYING = "Tied weights"
_WIDTHS = "Learned widths"
_TEACHING = "Learning from a trained network"
_EXITING = "Early exits: confident frames end at a head behind some block"
_LIGHTNING = "Devices (Lightning's own options)"


def _list_networks(show: bool) -> None:
    if show:
        from flows.cli.render_training import networks

        networks()
        raise typer.Exit


def train(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RUN/", help="folder for model.onnx, metrics.json, test frames")
    ],
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="a reference network, for example tfc-w1a1 (--list shows all), or module.py:function, a network of "
            "your own, whose code is run",
            show_default=False,
        ),
    ] = None,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="TRAIN.yaml",
            help="arguments of a run, as its train.yaml has them; others replace them",
        ),
    ] = None,
    scheme: Annotated[
        str | None, typer.Option(help="quantization scheme instead of the one that the model's name implies")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="data set by name (--list), or your own: a folder of images by class, a table (.csv, .tsv, .parquet), "
            "arrays (.npz, x.npy beside y.npy) (default: digits)"
        ),
    ] = None,
    task: Annotated[
        Task | None,
        typer.Option(
            help="what is learned: classes, numbers (--target-column for each), or the samples themselves, to find "
            "anomalous ones (default: classification)",
            rich_help_panel=own.PANEL,
        ),
    ] = None,
    download: Annotated[
        bool,
        typer.Option("--download", help="fetch a named data set into $BITFABRIC_DATA", rich_help_panel=own.PANEL),
    ] = False,
    test_share: own.TestShare = None,
    target_column: own.TargetColumn = None,
    drop_column: own.DropColumn = None,
    image_size: own.ImageSize = None,
    channels: own.Channels = None,
    normalize: own.Normalize = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="passes over the training set (default: 100)")] = None,
    seed: Annotated[int | None, typer.Option(help="seed of the split, the weights and the order (default: 0)")] = None,
    split_seed: Annotated[
        int | None, typer.Option(help="seed of the test set of data without one (default: that of --seed)")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from where an interrupted run in RUN/ was")] = False,
    scheme_option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="a parameter of the scheme, as act_bits=2")
    ] = None,
    model_option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="an option of the network, as width=0.5")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=2, help="samples a step (default: 100)")] = None,
    learning_rate: Annotated[
        str | None,
        typer.Option(metavar="FIRST[:LAST]", help="instead of the scheme's rates; it falls from the first to the last"),
    ] = None,
    class_weights: Annotated[
        str | None,
        typer.Option(metavar="W,W,...", help="weights of the classes in the loss; balanced: by their frequency"),
    ] = None,
    log: Annotated[Log | None, typer.Option(help="write the figures of each epoch to RUN/logs")] = None,
    loss: Annotated[Loss | None, typer.Option(help="instead of the scheme's loss")] = None,
    validation: Annotated[
        float | None, typer.Option(help="share of the training set on which the best epoch is chosen (default: 0)")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="end after so many epochs without a better one; needs --validation")
    ] = None,
    augment: Annotated[Augmentation | None, typer.Option(help="change training images at random")] = None,
    start: Annotated[
        Path | None, typer.Option(metavar="RUN/", help="run of a network of these layers, whose weights it starts with")
    ] = None,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN/",
            help="run of a network to learn from (knowledge distillation); several are an ensemble",
            rich_help_panel=_TEACHING,
        ),
    ] = None,
    distill: Annotated[
        str | None,
        typer.Option(
            metavar="TERM[:WEIGHT],...",
            help=f"what is learned: {', '.join(TERMS)} (default: soft; labels always count, unless labels:0)",
            rich_help_panel=_TEACHING,
        ),
    ] = None,
    distill_layers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STUDENT=TEACHER",
            help="modules whose outputs are compared, as hidden.1=hidden.2 (default: by position and size)",
            rich_help_panel=_TEACHING,
        ),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="of soft targets (default: 4)", rich_help_panel=_TEACHING)
    ] = None,
    hint_share: Annotated[
        float | None,
        typer.Option(help="share of the epochs that only learns the hint (default: 0.3)", rich_help_panel=_TEACHING),
    ] = None,
    pseudo: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, help="samples made up for each one, labelled by the teacher", rich_help_panel=_TEACHING
        ),
    ] = None,
    early_exit: Annotated[
        list[int] | None,
        typer.Option(
            metavar="BLOCK",
            min=1,
            help="a head and an exit behind block BLOCK, from 1; needs --validation",
            rich_help_panel=_EXITING,
        ),
    ] = None,
    exit_share: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="share of validation frames that goes on at each exit (default: as few as lose no accuracy)",
            rich_help_panel=_EXITING,
        ),
    ] = None,
    exit_drop: Annotated[
        float | None,
        typer.Option(
            metavar="D",
            help="instead: accuracy on validation frames that may be lost, as 0.005",
            rich_help_panel=_EXITING,
        ),
    ] = None,
    exit_weight: Annotated[
        list[float] | None,
        typer.Option(metavar="W", help="of a head's loss, one for each exit (default: 1)", rich_help_panel=_EXITING),
    ] = None,
    prune: Annotated[
        float | None,
        typer.Option(metavar="FRACTION", help="share of the weights that becomes zero", rich_help_panel=_PRUNING),
    ] = None,
    prune_layers: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="layers to prune, as 'hidden.*' (default: all)", rich_help_panel=_PRUNING),
    ] = None,
    prune_structure: Annotated[
        str | None,
        typer.Option(
            metavar="STRUCTURE",
            help="weights that become zero together: 2:4, bank-balanced:PExSIMD, blocks:PExSIMD or columns (default: "
            "single weights)",
            rich_help_panel=_PRUNING,
        ),
    ] = None,
    prune_jointly: Annotated[
        bool,
        typer.Option(
            "--prune-jointly",
            help="rank the weights of all layers together (default: the share is that of each layer)",
            rich_help_panel=_PRUNING,
        ),
    ] = False,
    prune_span: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="BEGIN END",
            help="shares of the training between which it prunes (default: 0.1 0.6)",
            rich_help_panel=_PRUNING,
        ),
    ] = None,
    prune_by: Annotated[
        Criterion | None,
        typer.Option(
            help="what the zeros save: weights, or hardware on --target (default: size; lut with --target)",
            rich_help_panel=_PRUNING,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", "-t", help="board or device on which hardware is saved", rich_help_panel=_PRUNING),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            min=1e-3, help="frames per second there (default: folded as the structure is)", rich_help_panel=_PRUNING
        ),
    ] = None,
    prune_lasso: Annotated[
        float | None,
        typer.Option(metavar="STRENGTH", help="group lasso on what becomes zero together", rich_help_panel=_PRUNING),
    ] = None,
    prune_decay: Annotated[
        Bias | None,
        typer.Option(help="weight decay that drives small weights to zero", rich_help_panel=_PRUNING),
    ] = None,
    slim_penalty: Annotated[
        ChannelPenalty | None,
        typer.Option(metavar="NAME", help=f"{', '.join(get_args(ChannelPenalty))}", rich_help_panel=_SLIMMING),
    ] = None,
    slim_strength: Annotated[
        float | None, typer.Option(metavar="STRENGTH", help="of it (default: by penalty)", rich_help_panel=_SLIMMING)
    ] = None,
    tie: Annotated[
        str | None,
        typer.Option(
            metavar="STRUCTURE",
            help="weights that are one value: circulant:B, toeplitz:B, hashed:C, hashed:C:PExSIMD, negated, circ, p4, "
            "p4m or translated:Z",
            rich_help_panel=_TYING,
        ),
    ] = None,
    tie_layers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="layers to tie, as 'hidden.*' (default: all where the structure ties weights, but the last)",
            rich_help_panel=_TYING,
        ),
    ] = None,
    learn_widths: Annotated[
        str | None,
        typer.Option(
            metavar="BITS,...",
            help="widths of weights of which each layer learns one, as 1,2,4,8 or ternary, for their cost on --target",
            rich_help_panel=_WIDTHS,
        ),
    ] = None,
    learn_acts: Annotated[
        str | None,
        typer.Option(metavar="BITS,...", help="the same for hidden activations, from 2 bits", rich_help_panel=_WIDTHS),
    ] = None,
    learn_strength: Annotated[
        float | None,
        typer.Option(
            metavar="STRENGTH",
            help="of the cost in the loss; 1: that of the largest network counts as 1 (default: 0.1)",
            rich_help_panel=_WIDTHS,
        ),
    ] = None,
    learn_by: Annotated[
        CostPart | None,
        typer.Option(
            help="part of the cost (default: share, of LUT, FF, BRAM and DSP of the device)", rich_help_panel=_WIDTHS
        ),
    ] = None,
    learn_share: Annotated[
        float | None, typer.Option(help="share of the epochs that learns them (default: 0.4)", rich_help_panel=_WIDTHS)
    ] = None,
    accelerator: Annotated[
        str | None, typer.Option(help="cpu, gpu, ... (default: a GPU if there is one)", rich_help_panel=_LIGHTNING)
    ] = None,
    devices: Annotated[
        str | None, typer.Option(help="how many, auto, or which (0,2) (default: 1)", rich_help_panel=_LIGHTNING)
    ] = None,
    strategy: Annotated[str | None, typer.Option(help="as ddp or fsdp", rich_help_panel=_LIGHTNING)] = None,
    num_nodes: Annotated[int | None, typer.Option(min=1, help="machines", rich_help_panel=_LIGHTNING)] = None,
    _: Annotated[
        bool,
        typer.Option("--list", callback=_list_networks, is_eager=True, help="list networks, schemes and data sets"),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a quantized network and export it as QONNX.

    Example: bitfabric train tfc-w1a1 --data digits -o run/

    Your own images, one folder a class: bitfabric train lenet5-w4a4 --data photos/ --test-share 0.2 -o run/

    Your own table, one sample a row: bitfabric train tfc-w4a4 --data features.csv --target-column species -o run/

    The same again, longer: bitfabric train --config run/train.yaml --epochs 200 -o longer/

    Numbers: bitfabric train tfc-w8a8 --data houses.csv --task regression --target-column price -o run/

    Anomalies: bitfabric train ad-mlp-w8a8 --data sounds.npz --task reconstruction -o run/

    A quarter of the weights: bitfabric train tfc-w4a4 --prune 0.75 -o run/

    An eighth of the values, in circulant blocks: bitfabric train tfc-w4a4 --tie circulant:8 -o run/

    Widths by layer, learned: bitfabric train tfc-w4a4 --learn-widths 1,2,4,8 --target ulx3s-85f --fps 100000 -o run/

    By lookup tables saved: bitfabric train tfc-w4a4 --prune 0.75 --target ulx3s-85f --fps 25000000 -o run/

    A lookup network: bitfabric train lookup-s -o run/

    A network of your own, whose code is run: bitfabric train net.py:make_net --data digits -o run/

    With a float teacher: bitfabric train tfc-float -o teacher/ and bitfabric train tfc-w1a1 --teacher teacher/ -o run/

    With an early exit: bitfabric train lenet5-w4a4 --data mnist --early-exit 1 --validation 0.1 -o run/

    By its feature maps too: bitfabric train lenet5-w1a1 --teacher teacher/ --distill soft,attention -o run/
    """
    if slim_strength is not None and slim_penalty is None:
        raise typer.BadParameter("--slim-strength needs --slim-penalty")
    learning = settings.learning(learn_widths, learn_acts, strength=learn_strength, by=learn_by, share=learn_share)
    pruned_for = target if prune is not None or learning is None else None  # else the target is that of the widths
    given: dict[str, Any] = {
        "batch_size": batch_size,
        "epochs": epochs,
        "seed": seed,
        "split_seed": split_seed,
        "learning_rate": None if learning_rate is None else rates(learning_rate),
        "class_weights": None if class_weights is None else settings.weights(class_weights),
        "log": log,
        "loss": loss,
        "validation": validation,
        "patience": patience,
        "augment": augment,
        "distill": settings.distillation(
            teacher, distill, layers=distill_layers, temperature=temperature, hint_share=hint_share, pseudo=pseudo
        ),
        "exits": settings.exits(exit_share, exit_drop, exit_weight),
        "prune": settings.pruning(
            prune,
            layers=prune_layers,
            structure=prune_structure,
            jointly=prune_jointly,
            span=prune_span,
            by=prune_by,
            lasso=prune_lasso,
            decay=prune_decay,
            target=pruned_for,
            fps=None if pruned_for is None and learning is not None else fps,
        ),
        "slimming": None if slim_penalty is None else Slimming(slim_penalty, slim_strength),
        "tie": settings.tying(tie, tie_layers),
        "widths": learning,
    }
    from quant import train_run
    from quant.training.config_file import read_config

    before = {} if config_file is None else read_config(config_file)
    if model is None and "model" not in before:
        raise typer.BadParameter("give a MODEL, for example tfc-w1a1; --list shows all")
    data_options = own.data_options(test_share, target_column, drop_column, image_size, channels, normalize)
    if task is not None:
        data_options["task"] = task
    if download:
        data_options["download"] = True
    scheme_options = pairs("--scheme-option", scheme_option or [])
    model_options = pairs("--model-option", model_option or [])
    if early_exit:
        if "early_exit" in model_options:
            raise typer.BadParameter("--early-exit and --model-option early_exit= are the same: give one of them")
        model_options["early_exit"] = early_exit
    trainer = {
        "accelerator": accelerator,
        "devices": int(devices) if devices and devices.isdecimal() else devices,
        "strategy": strategy,
        "num_nodes": num_nodes,
    }
    config = before.get("config", TrainConfig())
    config = replace(
        config,
        trainer=replace(config.trainer, **{name: value for name, value in trainer.items() if value is not None}),
        **{name: value for name, value in given.items() if value is not None},
    )
    with warnings_in_one_line(), resumable(out, resume):
        result = train_run(
            model or before["model"], out, config,
            data=data or before.get("data", "digits"),
            data_options={**before.get("data_options", {}), **data_options},
            scheme=scheme or before.get("scheme"),
            scheme_options={**before.get("scheme_options", {}), **scheme_options},
            model_options={**before.get("model_options", {}), **model_options},
            teacher=teacher or before.get("teacher"), start=start or before.get("start"),
            cost=settings.cost(config, target, fps), progress=not as_json, resume=resume,
        )  # fmt: skip
    if result.pop("rank"):
        return  # one of several processes of this training; the first one reports
    if as_json:
        emit(result)
        return
    from flows.cli.render_training import trained

    trained(result, out)
