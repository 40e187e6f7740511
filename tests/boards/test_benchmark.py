"""The benchmark of an image: its signatures, cycles and memory, on the RTL of the whole image and on a placed
netlist."""

import random
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qonnx.core.datatype import DataType

from hw.boards.image import SCOPE, Image, format_of, image
from hw.boards.targets import find_target
from hw.boards.virtual import VirtualBoard
from hw.families.ecp5 import ECP5
from hw.host.benchmark import checksum, repeated, signatures
from hw.host.driver import Driver
from hw.host.errors import BitfabricError
from hw.host.protocol import REPLAY, REPLAYING, REPLY, STATUS, Decoder, Message, Status, encode
from hw.ir.graph import Graph
from hw.ir.stream import Stream
from hw.kernels.add.kernel import Add
from hw.kernels.width_converter.kernel import WidthConverter
from hw.rtl.design import RtlDesign, generate
from hw.simulation import verilator
from hw.synth import netlist, nextpnr, yosys
from hw.timing import cycles
from tests.boards.faulty_line import MODEL, FaultyLine
from tests.boards.small_images import several_outputs
from tests.kernels.kernel_bench import alone, random_frames

DISTINCT = 5


def image_of(graph: Graph, benchmark: int = DISTINCT) -> Image:
    return image(generate(graph, ECP5), find_target("ulx3s-85f"), 75, MODEL, benchmark=benchmark)


@cache
def two_inputs() -> Graph:
    """A sum of two inputs of different widths, in beats of two elements."""
    return alone(Add((3, 4), (DataType["INT4"], DataType["UINT9"]), (3, -1), 2))


GRAPHS = {
    "one input": lambda: alone(WidthConverter(Stream((12,), DataType["INT5"], 4), 12)),  # an odd width, two words
    "two inputs": two_inputs,
    "three outputs": lambda: several_outputs()[1],
}


def driver_of(board: VirtualBoard | FaultyLine, graph: Graph, **options: float) -> Driver:
    entries = [format_of(graph.edges[port.edge]) for port in graph.inputs]
    results = [format_of(graph.edges[edge]) for edge in graph.output_edges]
    return Driver(board, entries, results, MODEL, **{"timeout": 0.0005, **options})  # type: ignore[arg-type]


def frames_of(graph: Graph, count: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [random_frames(graph.edges[port.edge], count, rng) for port in graph.inputs]


def executed(graph: Graph, frames: list[np.ndarray]) -> list[np.ndarray]:
    results = graph.execute(dict(zip((port.edge for port in graph.inputs), frames, strict=True)))
    return [results[edge] for edge in graph.output_edges]


def beats_of(design: Image) -> list[int]:
    return [stream.beats for stream in design.accelerator.outputs.values()]


@given(st.binary(min_size=1, max_size=9), st.integers(1, 60), st.integers(0, 2**50))
def test_the_crc_of_a_repeated_block(block: bytes, times: int, more: int) -> None:
    assert repeated(block, times) == zlib.crc32(block * times)
    assert repeated(block, times * more) == repeated(block * times, more)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3, 4, 6, 12]), st.integers(1, 30))
def test_signatures_are_the_crcs_of_the_beats_words(seed: int, lanes: int, count: int) -> None:
    stream = Stream((12,), DataType["INT7"], lanes)
    frames = random_frames(stream, 4, np.random.default_rng(seed))
    words = stream.pack(np.resize(frames, (count, 12))).reshape(count * stream.beats, -1)
    expected = [zlib.crc32(np.ascontiguousarray(words[:, i], "<u4").tobytes()) for i in range(words.shape[1])]
    assert signatures(format_of(stream), frames, stream.beats, count) == expected


@pytest.mark.parametrize("name", GRAPHS)
def test_a_replay_has_the_signatures_of_the_emulator_and_the_cycles_of_the_model(name: str) -> None:
    graph = GRAPHS[name]()
    design = image_of(graph)
    verilator.lint(design.design)
    with VirtualBoard(design) as board:
        link = driver_of(board, graph)
        assert link.identity.benchmark == DISTINCT
        seen: list[tuple[int, int]] = []
        for seed, count in ((0, 1), (1, 4 * DISTINCT), (2, 1003), (3, 5000)):
            frames = frames_of(graph, DISTINCT if seed != 2 else 3, seed)
            done = link.benchmark(
                count,
                *frames,
                beats=beats_of(design),
                expected=executed(graph, frames),
                progress=lambda *each: seen.append(each),
            )
            taken = cycles.simulate(graph, count).taken
            first = min(taken[port.edge][0] for port in graph.inputs)
            assert done.cycles == max(taken[edge][-1] for edge in graph.output_edges) - first + 1
            assert (done.frames, done.distinct) == (count, DISTINCT)
            # Frames go through the link as before, from whichever place of the memory they start.
            frames = frames_of(graph, 4, 10 + seed)
            for got, want in zip(link.run(*frames), executed(graph, frames), strict=True):
                np.testing.assert_array_equal(got, want)
        status = link.status()
    assert (status.frames, status.errors, status.pending) == (4 * (DISTINCT + 4), 0, 0)
    assert done.fps == 5000 * status.clock_hz / done.cycles
    assert seen[-1][1] == 5000


def test_a_benchmark_on_a_bad_line_loads_every_frame_once() -> None:
    graph = two_inputs()
    design = image_of(graph)
    with VirtualBoard(design) as board:
        line = FaultyLine(board, {}, random.Random(3))
        link = driver_of(line, graph, retries=200)
        line.rates = dict.fromkeys(("flip", "lose", "insert"), 0.002)
        for seed in range(30):
            frames = frames_of(graph, DISTINCT, seed)
            link.benchmark(777 + seed, *frames, beats=beats_of(design), expected=executed(graph, frames))
    assert line.faults.total() > 100


HASTY = """
`default_nettype none
module hasty (  // wrong in a bit where two beats follow each other at once, as a circuit that is clocked too fast
    input  wire logic clk, input wire logic rst,
    input  wire logic s_valid, output logic s_ready, input wire logic [7:0] s_data,
    output      logic m_valid, input wire logic m_ready, output logic [7:0] m_data
);
  logic [4:0] quiet;
  assign s_ready = !m_valid || m_ready;
  always_ff @(posedge clk) begin
    quiet <= s_valid && s_ready ? '0 : quiet == '1 ? quiet : quiet + 5'd1;
    if (s_ready) begin
      m_valid <= s_valid;
      m_data  <= s_data ^ {5'd0, quiet != '1, 2'd0};
    end
    if (rst) {quiet, m_valid} <= {5'd31, 1'b0};
  end
endmodule
"""


def test_what_is_right_one_at_a_time_and_wrong_at_full_rate_is_found() -> None:
    stream = Stream((1,), DataType["UINT8"])
    hasty = RtlDesign("hasty", {"s": stream}, {"m": stream}, {"hasty.sv": HASTY})
    form, frames = format_of(stream), np.arange(4)[:, None]
    with VirtualBoard(image(hasty, find_target("ulx3s-85f"), 75, MODEL, benchmark=4)) as board:
        link = Driver(board, [form], [form], MODEL, timeout=0.0005)
        with pytest.raises(
            BitfabricError, match=r"outputs of 100 replayed frames are wrong: .* clock too fast"
        ) as told:
            link.benchmark(100, frames, beats=[1])
        assert f"{checksum(signatures(form, frames, 1, 100)):08x}" in str(told.value)
        with pytest.raises(BitfabricError, match="not those expected"):
            link.benchmark(100, frames, beats=[1], expected=[frames + 1])
        link.benchmark(1, frames, beats=[1])


def test_what_is_no_benchmark() -> None:
    graph = two_inputs()
    frames = frames_of(graph, 2, 0)
    with VirtualBoard(image_of(graph, 0)) as board:
        link = driver_of(board, graph)
        with pytest.raises(BitfabricError, match="no benchmark; build it with --benchmark-frames"):
            link.benchmark(10, *frames, beats=[6])
        board.timeout = 0.0005
        assert board.exchange(encode(Message(REPLAY, 1, bytes(4)))) == b""
        assert link.status().errors == 1
    design = image_of(graph)
    with VirtualBoard(design) as board:
        link = driver_of(board, graph)
        for count in (0, 1 << 32):
            with pytest.raises(BitfabricError, match="takes 1 to 4,294,967,295 frames"):
                link.benchmark(count, *frames, beats=beats_of(design))


def test_frames_during_a_replay_are_dropped_and_another_session_waits_for_its_end() -> None:
    graph = GRAPHS["one input"]()
    with VirtualBoard(image_of(graph)) as board:
        link = driver_of(board, graph)
        link.session.start_replay(4_000_000)
        board.timeout = 0.0001
        replies = {each.type: each for each in Decoder(300).feed(board.exchange(encode(Message(STATUS, 1))))}
        assert Status.parse(replies[STATUS | REPLY].payload).pending == REPLAYING
        with pytest.raises(BitfabricError, match="still at an earlier benchmark"):
            driver_of(board, graph, retries=1)
        with pytest.raises(BitfabricError, match="stopped answering"):
            link.run(*frames_of(graph, 1, 0))
        dropped = link.status().errors
        assert dropped > 0


@pytest.mark.slow
def test_the_placed_netlist_replays_as_the_rtl_does(tmp_path: Path) -> None:
    graph = two_inputs()
    target = find_target("ulx3s-25f")
    design = image(generate(graph, ECP5), target, 75, MODEL, benchmark=3)
    synthesis = yosys.synthesise(design.design, target.device, tmp_path, SCOPE)
    placement = nextpnr.place_and_route(synthesis.netlist, target.device, tmp_path, design.clock_mhz, design.pins)
    assert placement.met
    frames = frames_of(graph, 3, 0)
    with VirtualBoard(design, netlist.design(placement.netlist, ECP5)) as board:
        link = driver_of(board, graph, timeout=0.001)
        done = link.benchmark(500, *frames, beats=beats_of(design), expected=executed(graph, frames))
    taken = cycles.simulate(graph, 500).taken
    assert done.cycles == taken[graph.output_edges[0]][-1] - min(taken[port.edge][0] for port in graph.inputs) + 1
