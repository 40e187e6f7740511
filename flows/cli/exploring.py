"""The commands ``bitfabric sensitivity`` and ``bitfabric explore``."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli import data_arguments as own
from flows.cli.arguments import AsJson, Clock, Fps, Target, emit, limits, target_names, widths
from flows.config import STEPS, StepName
from quant.training.config import Augmentation

_FINISH = "The best ones in full"

_RAY = "With --jobs ray"


def _jobs(text: str, **ray: Any) -> Any:
    """The value of ``--jobs``: a number of processes, or a ``RayCluster`` with these settings. Raises
    typer.BadParameter for another form, and for settings of Ray without it."""
    kind, colon, number = text.partition(":")
    if text.isdecimal():
        for name, value in ray.items():
            if value is not None:
                raise typer.BadParameter(f"--ray-{name} is for --jobs ray")
        return int(text)
    if kind != "ray" or (colon and not number.isdecimal()):
        raise typer.BadParameter(f"--jobs {text!r} is no number of processes, and not ray or ray:N")
    from flows.explore.cluster import RayCluster

    given = {name: value for name, value in ray.items() if value is not None}
    return RayCluster(int(number) if number else None, **given)


def sensitivity(
    run: Annotated[Path, typer.Argument(metavar="RUN/", help="a folder that `bitfabric train` left")],
    target: Target,
    fps: Fps = None,
    clock: Clock = None,
    bits: Annotated[str, typer.Option(help="widths of weights; ternary is -1, 0, +1")] = "1,2,3,4,6,8",
    acts: Annotated[str, typer.Option(help="widths of hidden activations, from 2")] = "2,3,4,6,8",
    by: Annotated[
        str, typer.Option(help="what the front adds up over layers: loss (measured), or curvature (predicted)")
    ] = "loss",
    data: Annotated[str | None, typer.Option(help="place of the run's data, where it is another now")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure what each width of each layer would cost a trained network, and what it would save on a target.

    Prints a table of layers and widths, and the widths of all layers together that are best for their cost. Nothing is
    trained; frames are those that the training held out, or else training frames.

    Example: bitfabric sensitivity run/ --target ulx3s-85f --fps 100000
    """
    if by not in ("loss", "curvature"):
        raise typer.BadParameter(f"--by {by} is neither loss nor curvature")
    wanted = widths("--acts", acts, ternary=False)
    if 1 in wanted:
        raise typer.BadParameter("--acts 1 are signs, which need a training: give widths from 2")
    from flows.explore.sensitivity import sensitivity as measured
    from flows.progress import working

    chosen = widths("--bits", bits, ternary=True)
    with working("measuring layers"):
        result = measured(
            run, target, fps=fps, clock_mhz=clock, weight_widths=chosen, activation_widths=wanted, by=by, data=data  # type: ignore[arg-type]
        )  # fmt: skip
    if as_json:
        emit(result)
        return
    from flows.cli.render_exploring import sensitivities

    sensitivities(result)


def _refuse_others(context: typer.Context, why: str, allowed: tuple[str, ...]) -> None:
    """Raises typer.BadParameter where the command line has another option than those."""
    command: Any = context.command
    for parameter in command.params:
        source = context.get_parameter_source(str(parameter.name))
        if parameter.name not in allowed and source is not None and source.name == "COMMANDLINE":
            name = parameter.metavar if parameter.param_type_name == "argument" else parameter.opts[0]
            raise typer.BadParameter(f"{why}: leave {name} out")


def explore(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="a reference network, for example tfc-w4a4, or module.py:function, a network of your own, whose code "
            "is run",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="STUDY/", help="folder of the study; the same command goes on")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", "-t", help="a board or a device; `bitfabric targets` lists them",
                     autocompletion=target_names),
    ] = None,
    data: Annotated[str, typer.Option(help="data set by name, or your own, as for train")] = "digits",
    fps: Fps = None,
    clock: Clock = None,
    trials: Annotated[int, typer.Option(min=1, help="networks that are trained at most")] = 50,
    search: Annotated[
        str | None,
        typer.Option(
            help="what is chosen: bits (weights of each layer), acts (each activation), width (factor of all layers), "
            "prune, rank (of dense layers), scheme; default: bits,acts, or what --space has"
        ),
    ] = None,
    space: Annotated[
        Path | None,
        typer.Option(
            metavar="SPACE.yaml",
            help="choices of each, as bits: [1, 2, 4], of further options of the network (options: {name: [...]}), and "
            "uniform: true for the same width in all layers",
        ),
    ] = None,
    objective: Annotated[
        str,
        typer.Option(
            help="accuracy, and lut, ff, bram, dsp, energy (at --fps; energy is a proxy), fps (within --max-lut, ...) "
            "or latency"
        ),
    ] = "accuracy,lut",
    max_lut: Annotated[int | None, typer.Option(min=1, help="most lookup tables (default: 80 % of the device)")] = None,
    max_ff: Annotated[int | None, typer.Option(min=1, help="most flip-flops (default: 80 %)")] = None,
    max_bram: Annotated[int | None, typer.Option(min=0, help="most block RAMs (default: 90 %)")] = None,
    max_dsp: Annotated[int | None, typer.Option(min=0, help="most multipliers (default: 90 %)")] = None,
    min_accuracy: Annotated[float | None, typer.Option(help="least accuracy, as 0.97")] = None,
    epochs: Annotated[
        str,
        typer.Option(help="of each training; 5,20: of 20 only what is near the front after 5"),
    ] = "20",
    validation: Annotated[float, typer.Option(help="share of the training set that accuracy is measured on")] = 0.1,
    augment: Annotated[Augmentation | None, typer.Option(help="change training images at random")] = None,
    seed: Annotated[int, typer.Option(help="of the search and of the trainings")] = 0,
    jobs: Annotated[
        str, typer.Option(metavar="N|ray[:N]", help="processes on this machine, or workers on a Ray cluster")
    ] = "1",
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="of the cluster (default: $RAY_ADDRESS, or one on this machine, which is started if there is none)",
            rich_help_panel=_RAY,
        ),
    ] = None,
    ray_cpus: Annotated[int | None, typer.Option(help="of each worker (default: 1)", rich_help_panel=_RAY)] = None,
    ray_gpus: Annotated[
        float | None,
        typer.Option(help="of each worker, as 0.5 (default: 1 if there are any)", rich_help_panel=_RAY),
    ] = None,
    start_from: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN/",
            help="a run of the network, from whose sensitivity the first widths by layer are found (default: uniform "
            "widths only)",
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="a database instead of a journal in STUDY/, as sqlite:///study.db, or a server of one, as "
            "grpc://host:13000",
        ),
    ] = None,
    join: Annotated[
        Path | None,
        typer.Option("--join", metavar="STUDY/", help="work on a study, from any machine that sees the folder"),
    ] = None,
    finish: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="train K networks of the front in full, build and measure them; with -o STUDY/ alone: those of a "
            "study that is there",
            rich_help_panel=_FINISH,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="trainings of each", rich_help_panel=_FINISH)] = 3,
    full_epochs: Annotated[
        int | None, typer.Option(help="of each (default: the last of --epochs)", rich_help_panel=_FINISH)
    ] = None,
    stop_after: Annotated[
        StepName, typer.Option(metavar="STEP", help="last step of the builds", rich_help_panel=_FINISH)
    ] = STEPS[-1],
    test_share: own.TestShare = None,
    target_column: own.TargetColumn = None,
    drop_column: own.DropColumn = None,
    image_size: own.ImageSize = None,
    channels: own.Channels = None,
    normalize: own.Normalize = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Search for the networks with the best accuracy for their cost on a target.

    What does not fit is told by its cost and never trained; accuracy is that on frames held out of the training set.

    Example: bitfabric explore tfc-w4a4 -t ulx3s-25f --fps 100000 --search bits,acts,width --trials 40 -o study/

    The best three in full, down to images: bitfabric explore --finish 3 -o study/
    """
    from flows.explore.settings import read_settings
    from flows.explore.space import Space
    from flows.explore.study import Study
    from flows.explore.study import explore as searched
    from flows.explore.work import work
    from flows.progress import working

    if finish is None:
        for name in ("seeds", "full_epochs", "stop_after"):
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                raise typer.BadParameter(f"--{name.replace('_', '-')} needs --finish K")
    elif finish < 1 or seeds < 1 or (full_epochs is not None and full_epochs < 1):
        raise typer.BadParameter("--finish, --seeds and --full-epochs are numbers from 1")
    if join is not None:
        _refuse_others(context, "--join takes the study's own settings", ("join", "as_json"))
        read_settings(join)
        with working("trying networks"):
            work(join, os.getpid())
        study = Study(join)
    elif finish is not None and model is None:
        if out is None:
            raise typer.BadParameter("--finish needs -o STUDY/, the folder of a study")
        its_own = ("out", "finish", "seeds", "full_epochs", "stop_after", "as_json")
        _refuse_others(context, "--finish without a MODEL takes the study's own settings", its_own)
        study = Study(out)
    else:
        if model is None or target is None or out is None:
            raise typer.BadParameter("explore needs MODEL, --target and -o STUDY/ (or --join STUDY/)")
        try:
            lengths = tuple(int(part) for part in epochs.split(","))
        except ValueError:
            raise typer.BadParameter(f"--epochs {epochs!r} is no list of numbers, as 5,20") from None
        if search is None:
            search = "bits,acts" if space is None else ""
        chosen = Space.of([part.strip() for part in search.split(",") if part.strip()], space)
        workers = _jobs(jobs, address=ray_address, cpus=ray_cpus, gpus=ray_gpus)
        with working("trying networks"):
            study = searched(
                model, target, out, chosen,
                data=data,
                data_options=own.data_options(test_share, target_column, drop_column, image_size, channels, normalize),
                jobs=workers, fps=fps, clock_mhz=clock,
                objectives=tuple(part.strip() for part in objective.split(",")),
                trials=trials, epochs=lengths, validation=validation, augment=augment,
                min_accuracy=min_accuracy, seed=seed, limits=limits(max_lut, max_ff, max_bram, max_dsp),
                storage=storage, start_from=start_from,
            )  # fmt: skip
    done = []
    if finish is not None:
        from flows.progress import told

        done = study.finish(finish, seeds=seeds, epochs=full_epochs, stop_after=stop_after, told=told)
    if as_json:
        emit({
            "study": str(study.folder),
            "front": [each.to_json() for each in study.front],
            "trials": [each.to_json() for each in study.trials],
            "finished": [each.to_json() for each in study.finished],
        })  # fmt: skip
    else:
        from flows.cli.console import paths
        from flows.cli.render_exploring import finished, studied

        if model is not None or join is not None:
            studied(study)
        if done:
            finished(study, done)
        with working("writing the page"):
            page = study.write_report()
        paths([("page", page)])
    if any(each.why for each in done):
        raise typer.Exit(1)
