"""The command-line program ``bitfabric``: its commands, one-line errors and exit status."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import typer

from flows.cli.boundary import LIMITS, explain
from flows.cli.building import build, estimate, finn, open_report, report
from flows.cli.compressing import compress
from flows.cli.exploring import explore, sensitivity
from flows.cli.exporting import export_c, export_ip
from flows.cli.help import Command, Group
from flows.cli.interrupts import INTERRUPTED
from flows.cli.machine import doctor, targets
from flows.cli.quantizing import quantize
from flows.cli.running import program, run, soft_errors, virtual
from flows.cli.training import train
from hw.host.errors import BitfabricError
from hw.host.text import one_line
from hw.native.interrupts import raise_interrupts
from quant import QuantError

ClickException: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
"""Base class of usage errors. Newer versions of Typer contain a copy of Click; older ones use the package ``click``."""

app = typer.Typer(
    name="bitfabric",
    help="Quantized and binarized networks from PyTorch to a verified FPGA bitstream.",
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS: dict[str, tuple[Callable[..., Any], ...]] = {
    "Networks": (train, quantize, compress, sensitivity, explore),
    "Accelerators": (estimate, build, report, open_report, finn),
    "For other designs": (export_ip, export_c),
    "Running": (run, program, virtual, soft_errors),
    "This machine": (targets, doctor),
}
"""The commands by topic."""

for _topic, _commands in COMMANDS.items():
    for _command in _commands:
        _name = _command.__name__.removesuffix("_report").replace("_", "-")
        app.command(_name, cls=Command, rich_help_panel=_topic)(_command)


def version(show: bool) -> None:
    if show:
        from importlib.metadata import version as installed

        typer.echo(f"bitfabric {installed('bitfabric')}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[bool, typer.Option("--version", callback=version, is_eager=True, help="print the version")] = False,
) -> None:
    pass


def main() -> None:
    """Entry point. An error is one line. Exit status: 0 success, 1 failure, 2 usage error, 130 interrupted."""
    raise_interrupts()  # then the external tools are killed, and no incomplete file remains
    _open_streams()
    try:
        # Without standalone mode, usage errors are exceptions, so that they are printed in one line like all others.
        status = app(standalone_mode=False)
        sys.stdout.flush()
        if status == INTERRUPTED:  # what newer versions of Typer return for an interrupt
            raise KeyboardInterrupt
    except ClickException as error:
        if not (message := _words(error)):
            sys.exit(2)  # A command without arguments, whose help is already printed.
        fail(f"{_two_rates(sys.argv) or message}; see --help", 2)
    except (typer.Abort, KeyboardInterrupt):
        again = {
            "build": "; the same command goes on from the finished steps",
            "explore": "; the same command goes on with the study",
        }
        fail(f"interrupted{again.get(next(iter(sys.argv[1:]), ''), '')}", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (BitfabricError, QuantError) as error:
        fail(str(error), error.status)
    except LIMITS as error:
        line = explain(error)
        fail(str(line), line.status)
    except RuntimeError as error:
        if "home" not in str(error).lower() or os.path.expanduser("~") != "~":
            raise
        fail("this user has no home folder, and a package asks for it: set HOME to a folder", 1)
    sys.exit(status if isinstance(status, int) else 0)


def _open_streams() -> None:
    """Open the standard streams that the caller has closed: the next file would get the number of one of them."""
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= 2:
        os.set_inheritable(descriptor, True)
        descriptor = os.dup(descriptor)
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


def _words(error: Exception) -> str:
    """Click's message for a usage error, without the words of the package that checks choices."""
    return str(getattr(error, "format_message", error.__str__)()).rstrip(".").replace(": Value error, ", ": ")


def _two_rates(arguments: list[str]) -> str | None:
    """The error for ``--learning-rate A B``, of which typer finds B at fault; None for other arguments."""
    for index, argument in enumerate(arguments[:-2]):
        first, last = arguments[index + 1 : index + 3]
        with suppress(ValueError):
            if argument == "--learning-rate" and [float(first), float(last)]:
                return f"--learning-rate takes one value: write --learning-rate {first}:{last}"
    return None


def fail(message: str, status: int) -> None:
    """Print an error in one line and exit with ``status``."""
    from rich.text import Text

    from flows.terminal import Terminal

    line = Text.assemble(("error:", "bold red"), f" {one_line(message)}")
    Terminal(stderr=True, soft_wrap=True).print(line)
    sys.exit(status)
