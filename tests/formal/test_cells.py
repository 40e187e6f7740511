"""The cells that the streams rest on, proven for all inputs and all time: see the modules of properties.

Of streams: `valid` stays high and the data stay as they are until `ready`; no beat is lost, doubled or invented, and
their order stays; a credit always finds room, and no counter over- or underflows. That no path of gates leads to
`ready` or `valid` is in tests/kernels/test_stream_rule.py.

The properties do not depend on WIDTH, so a few bits stand for any number; of the other parameters it is proven what is
listed here.
"""

import pytest

from tests.formal.prove import Cell, counterexample, prove, reaching

BUFFER = ("scoreboard", "stream_rule", "bf_stream_out", "stream_out_properties")
STREAM_OUT = Cell("bf_stream_out", BUFFER, ("STREAM_OUT_ALONE",))
FIFO = Cell("bf_fifo", (*BUFFER, "bf_fifo", "fifo_properties"))
FORK = Cell("bf_fork", (*BUFFER, "bf_fork", "fork_properties"))
WIDTH_CONVERTER = Cell("bf_width_converter", (*BUFFER, "bf_width_converter", "width_converter_properties"))
JOIN = Cell("stream_join_proof", ("scoreboard", "bf_stream_join", "stream_join_proof"))
REPLAY = Cell("bf_replay", ("bf_replay", "replay_properties"), reset=False)
DELAY = Cell("bf_delay", ("bf_delay", "delay_properties"), reset=False)
COUNTER = Cell("bf_modulo_counter", ("bf_modulo_counter", "modulo_counter_properties"))
PARITY = Cell("bf_parity", ("bf_parity", "parity_properties"))
ALIGN = Cell("align_operands_proof", ("bf_widen", "bf_align_operands", "align_operands_proof"), reset=False)


def named(cell: Cell, *marks: pytest.MarkDecorator, **parameters: int | str):
    quick = [pytest.mark.quick] if cell in (JOIN, REPLAY, DELAY, COUNTER, PARITY, ALIGN) else []
    return pytest.param(
        cell, parameters, id="-".join([cell.top, *map(str, parameters.values())]), marks=[*quick, *marks]
    )


def slow(cell: Cell, **parameters: int | str):
    return named(cell, pytest.mark.slow, **parameters)


CASES = [
    *(named(STREAM_OUT, WIDTH=w, CREDITS=c) for w, c in ((1, 1), (3, 2), (2, 3), (1, 4))),
    *(slow(STREAM_OUT, WIDTH=w, CREDITS=c) for w, c in ((3, 1), (2, 5), (3, 8))),
    *(named(FIFO, WIDTH=w, DEPTH=d, BLOCK=0) for w, d in ((2, 1), (1, 2), (2, 3))),
    *(named(FIFO, WIDTH=w, DEPTH=d, BLOCK=1) for w, d in ((2, 2), (1, 4), (2, 5))),
    *(slow(FIFO, WIDTH=2, DEPTH=d, BLOCK=b) for d, b in ((8, 0), (3, 1), (8, 1))),
    *(named(FORK, WIDTH=w, COPIES=c) for w, c in ((1, 1), (2, 2), (1, 3))),
    slow(FORK, WIDTH=3, COPIES=4),
    *(named(WIDTH_CONVERTER, IN_BITS=i, OUT_BITS=o, CREDITS=c) for i, o, c in ((2, 2, 2), (2, 4, 1), (1, 3, 2))),
    *(named(WIDTH_CONVERTER, IN_BITS=i, OUT_BITS=o, CREDITS=c) for i, o, c in ((4, 2, 1), (3, 1, 2))),
    *(slow(WIDTH_CONVERTER, IN_BITS=i, OUT_BITS=o, CREDITS=c) for i, o, c in ((2, 6, 2), (8, 2, 2), (6, 2, 3))),
    *(named(JOIN, INPUTS=i, WIDTH=w) for i, w in ((2, 1), (3, 2), (4, 1))),
    named(REPLAY, WIDTH=2, DEPTH=1, STYLE="hold"),
    *(named(REPLAY, WIDTH=1, DEPTH=d, STYLE=s) for d, s in ((3, "distributed"), (4, "logic"), (4, "block"))),
    *(named(DELAY, WIDTH=w, CYCLES=c) for w, c in ((2, 1), (1, 5))),
    *(named(COUNTER, COUNT=c) for c in (1, 2, 3, 8)),
    *(named(PARITY, WIDTH=w) for w in (2, 9, 16, 17, 33)),
    *(named(ALIGN, KIND0=a, KIND1=b) for a in (0, 1) for b in (0, 1)),
    named(ALIGN, KIND0=2, BITS0=1),
    named(ALIGN, KIND1=1, BITS1=7),
]  # fmt: skip


@pytest.mark.parametrize(("cell", "parameters"), CASES)
def test_the_properties_hold(cell, parameters, tmp_path):
    """Proven by induction; and the assumptions do not rule out what the properties are about."""
    assert prove(cell, parameters, tmp_path / "proof") >= 1
    assert reaching(cell, parameters, tmp_path / "reached") is not None


BROKEN = [
    (STREAM_OUT, {"CREDITS": 2}, "bf_stream_out", "left   <= COUNT'(CREDITS);", "left   <= COUNT'(CREDITS + 1);"),
    (STREAM_OUT, {"CREDITS": 3}, "bf_stream_out", "if (start && !take) left_next", "if (start) left_next"),
    (STREAM_OUT, {"CREDITS": 3}, "bf_stream_out", "credit <= left_next != '0;", "credit <= 1'b1;"),
    (STREAM_OUT, {"CREDITS": 3}, "bf_stream_out", "if (push) mem[tail] <= data;", "mem[tail] <= data;"),
    (STREAM_OUT, {"CREDITS": 3}, "bf_stream_out", "if (take) head <=", "if (m_valid) head <="),
    (STREAM_OUT, {"CREDITS": 3}, "bf_stream_out", "ADDRESS'(CREDITS - 1)", "ADDRESS'(CREDITS)"),
    (STREAM_OUT, {"CREDITS": 3}, "bf_stream_out", "m_valid <= held != COUNT'(1);", "m_valid <= 1'b0;"),
    (STREAM_OUT, {"CREDITS": 1}, "bf_stream_out", "if (push) m_data <= data;", "m_data <= data;"),
    (STREAM_OUT, {"CREDITS": 1}, "bf_stream_out", "else if (take) m_valid <= 1'b0;", ""),
    (FIFO, {"DEPTH": 2, "BLOCK": 0}, "bf_fifo", "assign put = s_valid && s_ready;", "assign put = s_valid;"),
    (FIFO, {"DEPTH": 3, "BLOCK": 1}, "bf_fifo", "fetched <= fetch && !rst;", "fetched <= fetch;"),
    (FIFO, {"DEPTH": 4, "BLOCK": 1}, "bf_fifo", "fetch = some && credit;", "fetch = some;"),
    (FIFO, {"DEPTH": 3, "BLOCK": 1}, "bf_fifo", "s_ready <= places_next != '0;", "s_ready <= 1'b1;"),
    (FIFO, {"DEPTH": 3, "BLOCK": 1}, "bf_fifo", "if (put) tail <=", "if (s_valid) tail <="),
    (FIFO, {"DEPTH": 5, "BLOCK": 1}, "bf_fifo", "some   <= stored != COUNT'(1);", "some   <= 1'b0;"),
    (FORK, {"COPIES": 2}, "bf_fork", "assign s_ready = &credit;", "assign s_ready = credit[0];"),
    (FORK, {"COPIES": 2}, "bf_fork", "fired <= fire && !rst;", "fired <= fire;"),
    (FORK, {"COPIES": 2}, "bf_fork", "beat  <= s_data;", "if (!fired) beat <= s_data;"),
    (WIDTH_CONVERTER, {"IN_BITS": 1, "OUT_BITS": 3}, "bf_width_converter", "if (take) held <=", "held <="),
    (WIDTH_CONVERTER, {"IN_BITS": 2, "OUT_BITS": 4}, "bf_width_converter", "credit || !last;", "1'b1;"),
    (WIDTH_CONVERTER, {"IN_BITS": 2, "OUT_BITS": 4}, "bf_width_converter", "credit || !last;", "credit;"),
    (WIDTH_CONVERTER, {"IN_BITS": 3, "OUT_BITS": 1}, "bf_width_converter", "if (give) held <=", "held <="),
    (WIDTH_CONVERTER, {"IN_BITS": 3, "OUT_BITS": 1}, "bf_width_converter", "= credit && first;", "= credit;"),
    (JOIN, {"INPUTS": 2}, "bf_stream_join", "rst || fire ? '1 : ~here;", "'1;"),
    (JOIN, {"INPUTS": 3}, "bf_stream_join", "&here && credit", "&here[1:0] && credit"),
    (JOIN, {"INPUTS": 2}, "bf_stream_join", "&here && credit", "&here"),
    (JOIN, {"INPUTS": 2}, "bf_stream_join", "rst || fire ?", "fire ?"),
    (REPLAY, {"DEPTH": 3, "STYLE": "logic"}, "bf_replay", "if (take) mem[index] <= beat;", "mem[index] <= beat;"),
    (REPLAY, {"DEPTH": 1, "STYLE": "hold"}, "bf_replay", "if (take) data <= beat;", "data <= beat;"),
    (DELAY, {"CYCLES": 3}, "bf_delay", "assign q = stage[CYCLES];", "assign q = stage[CYCLES-1];"),
    (COUNTER, {"COUNT": 3}, "bf_modulo_counter", "else if (step) begin", "else begin"),
    (PARITY, {"WIDTH": 17}, "bf_parity", "odd[i] <= ^g_level", "odd[i] <= |g_level"),
    (PARITY, {"WIDTH": 9}, "bf_parity", "{counts_q, used};", "{counts_q, 1'b1};"),
    (ALIGN, {"KIND0": 1}, "bf_widen", "codes[i][IN_BITS-1];", "codes[i][0];"),
]  # fmt: skip


@pytest.mark.parametrize(("cell", "parameters", "module", "right", "wrong"), BROKEN)
def test_a_broken_cell_is_found(cell, parameters, module, right, wrong, tmp_path):
    """Each proof can fail: a run from reset breaks a property of a cell with one mistake in it."""
    sources = cell.sources()
    assert right in sources[f"{module}.sv"]
    sources[f"{module}.sv"] = sources[f"{module}.sv"].replace(right, wrong)
    width = {"WIDTH": 1} if cell in (STREAM_OUT, FIFO, FORK, JOIN, REPLAY, DELAY) else {}
    assert counterexample(cell, parameters | width, sources, tmp_path) is not None
