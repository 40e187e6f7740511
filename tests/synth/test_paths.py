"""Slowest paths from the delays of place and route: against every path of random netlists, and against nextpnr."""

from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.fabric.toolchain import Pin
from hw.families import families, reference_device
from hw.families.ecp5 import ECP5
from hw.host.errors import BitfabricError, ToolError
from hw.rtl.design import RtlDesign
from hw.synth import netlist, nextpnr, paths, yosys
from hw.synth.owners import finder
from tests.synth.test_flow import design  # noqa: F401

HEAD = '(DELAYFILE\n  (SDFVERSION "3.0")\n  (DIVIDER /)\n  (TIMESCALE 1ps)\n'


def sdf(
    registers: list[tuple[int, int]], tables: list[int], wires: list[tuple[str, str, int]], clocks: list[str]
) -> str:
    """Registers of (clk-to-q, setup), tables with the delay of their only input, wires between pins, in ps."""

    def time(ps: int) -> str:
        return f"({ps // 2}:{ps // 2}:{ps})"

    text = HEAD + '  (CELL\n    (CELLTYPE "top")\n    (INSTANCE )\n'
    for number, driver in enumerate(clocks):
        text += f"        (INTERCONNECT {driver}/O r{number}\\$x/CLK {time(7)} {time(7)})\n"
    text += "".join(f"        (INTERCONNECT {a} {b} {time(ps // 3)} {time(ps)})\n" for a, b, ps in wires)
    for number, (launch, setup) in enumerate(registers):
        text += f'    (CELLTYPE "FF")\n    (INSTANCE r{number}\\$x)\n'
        text += f"        (IOPATH CLK Q {time(launch)} {time(launch)})\n"
        for edge in ("posedge", "negedge"):
            text += f"      (SETUPHOLD ({edge} D) (posedge CLK) {time(setup)} {time(9999)})\n"
    for number, delay in enumerate(tables):
        text += f'    (CELLTYPE "LUT")\n    (INSTANCE t{number})\n'
        text += "".join(f"        (IOPATH {pin} F {time(delay)} {time(delay)})\n" for pin in "AB")
    return text + ")\n"


@settings(deadline=None)
@given(st.data())
def test_every_path_of_a_small_netlist(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    times = st.integers(1, 50)
    registers = data.draw(st.lists(st.tuples(times, times), min_size=1, max_size=4))
    tables = data.draw(st.lists(times, max_size=5))
    clocks = data.draw(st.lists(st.sampled_from(["p", "q"]), min_size=len(registers), max_size=len(registers)))
    outputs = [f"r{n}$x/Q" for n in range(len(registers))] + [f"t{n}/F" for n in range(len(tables))]
    wires = []
    for n in range(len(tables)):  # A table reads registers and earlier tables only.
        before = st.sampled_from(outputs[: len(registers) + n])
        wires += [(data.draw(before), f"t{n}/{pin}", data.draw(times)) for pin in "AB"]
    wires += [(data.draw(st.sampled_from(outputs)), f"r{n}$x/D", data.draw(times)) for n in range(len(registers))]
    readers = defaultdict(list)
    for driver, sink, delay in wires:
        readers[driver].append((sink, delay))
    worst: dict[tuple[str, str], int] = {}

    def follow(pin: str, start: int, total: int) -> None:
        for sink, delay in readers[pin]:
            cell = sink.partition("/")[0]
            number = int(cell[1:].removesuffix("$x"))
            if cell.startswith("t"):
                follow(f"{cell}/F", start, total + delay + tables[number])
            elif clocks[start] == clocks[number]:
                pair = f"r{start}$x", cell
                worst[pair] = max(worst.get(pair, 0), total + delay + registers[number][1])

    for number, (launch, _) in enumerate(registers):
        follow(f"r{number}$x/Q", number, launch)
    file = tmp_path_factory.mktemp("sdf") / "a.sdf"
    escaped = [(a.replace("$", "\\$"), b.replace("$", "\\$"), ps) for a, b, ps in wires]
    file.write_text(sdf(registers, tables, escaped, clocks))
    found = paths.slowest(file, str, 3)
    assert found.pairs == len(worst)
    ends = [(path.hops[0].cell, path.hops[-1].cell) for path in found.paths]
    assert len(set(ends)) == len(ends) == min(3, len(worst))
    assert [round(1000 * path.delay_ns) for path in found.paths] == sorted(worst.values(), reverse=True)[:3]
    for end, path in zip(ends, found.paths, strict=True):
        assert round(1000 * path.delay_ns) == worst[end]
        assert path.delay_ns == pytest.approx(path.logic_ns + path.routing_ns)
        assert (path.hops[0].kind, path.hops[-1].kind) == ("clk-to-q", "setup")
        assert path.levels == len(path.stops(lambda cell: cell if cell.startswith("t") else ""))


ROUTABLE = [pytest.param(each, id=each.name) for each in families().values() if reference_device(each).routable]


@pytest.mark.parametrize("family", ROUTABLE)
def test_the_slowest_path_is_that_of_nextpnr(design: RtlDesign, family: Family, tmp_path: Path) -> None:  # noqa: F811
    made = yosys.synthesise(design, reference_device(family), tmp_path)
    placed = nextpnr.place_and_route(made.netlist, reference_device(family), tmp_path, 20, seeds=(1,), delays=True)
    layer = finder(netlist.load(made.netlist)[1])
    assert placed.delays is not None
    found = paths.slowest(placed.delays, layer, 3)
    first = found.paths[0]
    assert first.delay_ns == pytest.approx(placed.critical_path.delay_ns, abs=1e-6)
    assert first.logic_ns == pytest.approx(placed.critical_path.logic_ns, abs=1e-6)
    assert 1000 / first.delay_ns == pytest.approx(placed.fmax_mhz, rel=1e-4)
    assert found.pairs >= 3
    for path in found.paths:
        assert {layer(path.hops[0].cell), layer(path.hops[-1].cell)} <= {"u0_queue", "u1_wider"}
    cells = netlist.load(placed.netlist)[1]["cells"]
    lost = [name for name in cells if not layer(name) and not name.startswith("$")]
    assert len(lost) <= len(cells) // 20, lost


def test_clocks_from_outside_are_apart_from_that_of_the_design() -> None:
    """Each in a report of its own family's names; a pin that clocks the whole design has no clock beside it."""
    pins = [Pin("clk_board", "A1", "LVCMOS33", mhz=25.0), Pin("spi_sck", "A2", "LVCMOS33", mhz=30.0)]
    for own, other in (
        ("$glbnet$accelerator.u0_dut.clk", "$glbnet$spi_sck$TRELLIS_IO_IN"),
        ("clk_$glb_clk", "spi_sck$SB_IO_IN_$glb_clk"),
        ("clk", "spi_sck"),
    ):
        report = {"fmax": {own: {"achieved": 80.5}, other: {"achieved": 29.5}}}
        assert nextpnr._clocks(report, pins) == (80.5, (nextpnr.PinClock("spi_sck", 30.0, 29.5),))
        assert not nextpnr._clocks(report, pins)[1][0].met
        steps = [{"type": "logic", "delay": 9, "to": {"cell": "far"}}]
        both = {"critical_paths": [{"from": f"posedge {each}", "to": f"posedge {each}", "path": steps * n}
                                   for each, n in ((own, 1), (other, 2))]}  # fmt: skip
        assert [paths.critical_path(both, each).delay_ns for each in ([], ["spi_sck"])] == [18, 9]
    assert nextpnr._clocks({"fmax": {"clk_board": {"achieved": 99.0}}}, pins) == (99.0, ())
    with pytest.raises(BitfabricError, match="no clock in the design"):
        nextpnr._clocks({"fmax": {}}, pins)


def test_a_clock_from_outside_that_is_missed() -> None:
    path = paths.TimingPath(())
    slow = nextpnr.PinClock("spi_sck", 30.0, 29.5)
    made = nextpnr.Placement(reference_device(ECP5), Path("a"), None, Path("b"), 75, 80, 1, {1: 80}, Resources(), path,
                             None, 0.0, (slow,))  # fmt: skip
    assert not made.met
    with pytest.raises(BitfabricError, match=r"at spi_sck reaches 29\.5 MHz, not the 30 MHz that it has"):
        made.check("")


def test_what_is_no_file_of_delays(tmp_path: Path) -> None:
    with pytest.raises(BitfabricError, match=r"cannot read .*none\.sdf \(No such file"):
        paths.slowest(tmp_path / "none.sdf", str, 1)
    for text in ("", HEAD, "\0(TIMESCALE 1ns)"):
        (tmp_path / "a.sdf").write_text(text)
        with pytest.raises(ToolError, match="holds no delays in the form that nextpnr writes"):
            paths.slowest(tmp_path / "a.sdf", str, 1)


def test_lookup_tables_by_what_they_do(design: RtlDesign, tmp_path: Path) -> None:  # noqa: F811
    made = yosys.synthesise(design, reference_device(ECP5), tmp_path)
    for name, kinds in made.luts.items():
        assert kinds.logic + kinds.carry + kinds.memory == made.instances[name].lut
    assert made.luts["u0_queue"].memory >= 6 * 4  # 16 beats of 24 bit
    assert sum(kinds.carry for kinds in made.luts.values()) == 2 * made.cells["CCU2C"]
