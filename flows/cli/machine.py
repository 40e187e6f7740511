"""Commands that describe the installation: ``targets`` and ``doctor``."""

from typing import TYPE_CHECKING

import typer

from flows.cli.arguments import AsJson, emit

if TYPE_CHECKING:
    from hw.boards.targets import Target


def targets(as_json: AsJson = False) -> None:
    """List the boards and devices with their resources.

    Example: bitfabric targets
    """

    from hw.boards.targets import targets as known

    rows = [
        {
            "name": target.name,
            "device": target.device.name,
            **vars(target.device.capacity),
            "ends_with": _end(target),
        }
        for target in known()
    ]
    if as_json:
        emit({"targets": rows})
        return
    from flows.cli.render import target_table

    target_table(rows)


def _end(target: "Target") -> str:
    """What a build for a target ends with."""
    from hw.families import spec_of

    if target.board:
        toolchain = spec_of(target.device.family).toolchain
        return "bitstream, experimental" if toolchain and toolchain.missing else "bitstream"
    if target.device.routable:
        return "placed netlist"
    return "mapped netlist" if spec_of(target.device.family).dialect else "synthesis"


def doctor(as_json: AsJson = False) -> None:
    """Tell what this machine can do, and how to get the rest. Exit status 1 if something needed is missing.

    Example: bitfabric doctor
    """
    from flows.cli.doctor import examine
    from flows.cli.render import diagnosis

    findings = examine()
    if as_json:
        emit({"findings": findings})
    else:
        diagnosis(findings)
    if any(f["needed"] and not f["found"] for f in findings):
        raise typer.Exit(1)
