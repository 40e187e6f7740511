"""The FPGA families: a folder each, which holds all that is known of the family.

A family is found by its folder here, or in another distribution by an entry point of the group ``bitfabric.families``
that names its ``FamilySpec``, as in ``toy = "toy_family.spec:SPEC"``. docs/adding-a-family.md describes what it holds.
Nothing is imported before it is asked for.
"""

from functools import cache
from importlib import import_module, metadata
from importlib.resources import files

from hw.fabric.devices import Device
from hw.fabric.family import Family
from hw.fabric.spec import FamilySpec
from hw.host.errors import BitfabricError, unknown

ENTRY_POINTS = "bitfabric.families"


@cache
def _specs() -> dict[str, FamilySpec]:
    """The families by name: those of this folder, then those of other distributions."""
    folders = sorted(each.name for each in files(__name__).iterdir() if each.joinpath("spec.py").is_file())
    specs: dict[str, FamilySpec] = {name: import_module(f"{__name__}.{name}.spec").SPEC for name in folders}
    for entry in metadata.entry_points(group=ENTRY_POINTS):
        try:
            spec: FamilySpec = entry.load()
            name = spec.family.name
        except Exception as error:
            raise BitfabricError(
                f"FPGA family {entry.name} ({entry.value}) cannot be loaded: {error}; mend or uninstall its package"
            ) from error
        if name in specs:
            raise BitfabricError(f"FPGA family {name} is there twice; uninstall the package of {entry.value}")
        specs[name] = spec
    return specs


def families() -> dict[str, Family]:
    """All families by name."""
    return {name: spec.family for name, spec in _specs().items()}


def find_family(name: str) -> Family:
    """The family of that name. Raises UsageError with the nearest names."""
    found = families()
    if name.lower() not in found:
        raise unknown("family", name, list(found))
    return found[name.lower()]


def spec_of(family: Family) -> FamilySpec:
    """All that is known of a family. Raises UsageError where it has no folder and no entry point."""
    if family.name not in _specs():
        raise unknown("family", family.name, list(_specs()))
    return _specs()[family.name]


def reference_device(family: Family) -> Device:
    """The device of a family on which kernels are synthesised and placed to calibrate the models of cost and Fmax."""
    spec = spec_of(family)
    return next(device for device in spec.devices if device.name == spec.reference)


def devices() -> dict[str, Device]:
    """All devices by name, family by family."""
    return {device.name: device for spec in _specs().values() for device in spec.devices}


def find_device(name: str) -> Device:
    """The device of that name. Raises UsageError with the nearest names."""
    found = devices()
    if name.lower() not in found:
        raise unknown("device", name, list(found))
    return found[name.lower()]
