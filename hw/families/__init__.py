"""The FPGA families: one folder for each, with everything that is specific to the family.

A family of this package is found by its folder. Another distribution adds one through an entry point of the group
``bitfabric.families``: its name is the name of the family, its value the ``FamilySpec``, as in
``toy = "toy_family.spec:SPEC"``. Families are imported at the first query. docs/adding-a-family.md describes a folder.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.resources import files

from hw import plugins
from hw.fabric.devices import Device
from hw.fabric.family import Family
from hw.fabric.spec import FamilySpec
from hw.host.errors import BitfabricError, unknown

ENTRY_POINTS = "bitfabric.families"
"""The group of entry points through which other distributions add families."""


@cache
def _built_in() -> dict[str, FamilySpec]:
    """The families of this folder by name."""
    names = sorted(folder.name for folder in files(__name__).iterdir() if (folder / "spec.py").is_file())
    return {name: import_module(f"{__name__}.{name}.spec").SPEC for name in names}


def _specs() -> dict[str, FamilySpec]:
    """All families by name: those of this folder, then those of other distributions.

    Raises BitfabricError for an entry point that is not a family, and for a name that is already in use.
    """
    outside = plugins.find_all(ENTRY_POINTS)
    for name, spec in outside.items():
        if not isinstance(spec, FamilySpec) or spec.family.name != name:
            raise BitfabricError(f"{name}: the entry point of {ENTRY_POINTS} must be the FamilySpec of family {name!r}")
        if name in _built_in():
            raise BitfabricError(f"{name}: a package provides an FPGA family of the name of a built-in one; rename it")
    return _built_in() | outside


def families() -> dict[str, Family]:
    """All families by name."""
    return {name: spec.family for name, spec in _specs().items()}


def find_family(name: str) -> Family:
    """The family of that name. Raises UsageError with the nearest names."""
    for specs in (_built_in, _specs):
        if found := specs().get(name.lower()):
            return found.family
    raise unknown("family", name, list(_specs()))


def spec_of(family: Family) -> FamilySpec:
    """The specification of a family. Raises UsageError where it has no folder and no entry point."""
    for specs in (_built_in, _specs):
        if found := specs().get(family.name):
            return found
    raise unknown("family", family.name, list(_specs()))


def reference_device(family: Family) -> Device:
    """The device of a family on which kernels are synthesised and placed to calibrate the models of cost and Fmax."""
    spec = spec_of(family)
    return next(device for device in spec.devices if device.name == spec.reference)


def devices() -> dict[str, Device]:
    """All devices by name, family by family."""
    return _devices(_specs())


def find_device(name: str) -> Device:
    """The device of that name. Raises UsageError with the nearest names."""
    for specs in (_built_in, _specs):
        if found := _devices(specs()).get(name.lower()):
            return found
    raise unknown("device", name, list(devices()))


def _devices(specs: Mapping[str, FamilySpec]) -> dict[str, Device]:
    return {device.name: device for spec in specs.values() for device in spec.devices}
