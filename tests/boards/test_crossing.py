"""FIFOs between two clocks: every octet arrives once and in order, whatever the clocks, and after every reset."""

import subprocess
from importlib.resources import files

import pytest

from hw.rtl.design import RtlDesign
from hw.simulation import verilator

BENCH = """\
`default_nettype none
module bench (
    input  wire logic a_clk, input wire logic b_clk, input wire logic rst,
    output      logic a_held, output logic b_held,
    input  wire logic a_valid, output logic a_ready, input wire logic [7:0] a_data,  // from a
    output      logic b_valid, input wire logic b_ready, output logic [7:0] b_data,  // at b
    input  wire logic c_valid, output logic c_ready, input wire logic [7:0] c_data,  // from b
    output      logic d_valid, input wire logic d_ready, output logic [7:0] d_data   // at a
);
  always_ff @(posedge a_clk) a_held <= rst;
  bf_reset_crossing reset (.clk(b_clk), .rst_in(a_held), .rst(b_held));
  bf_crossing there (
      .w_clk(a_clk), .w_rst(a_held), .w_valid(a_valid), .w_ready(a_ready), .w_room(), .w_data(a_data),
      .r_clk(b_clk), .r_rst(b_held), .r_valid(b_valid), .r_ready(b_ready), .r_data(b_data));
  bf_crossing #(.LOG(3)) back (
      .w_clk(b_clk), .w_rst(b_held), .w_valid(c_valid), .w_ready(c_ready), .w_room(), .w_data(c_data),
      .r_clk(a_clk), .r_rst(a_held), .r_valid(d_valid), .r_ready(d_ready), .r_data(d_data));
endmodule
"""
HARNESS = r"""
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include "Vbench.h"
#include "verilated.h"

// sim SEED PERIOD EVENTS: clock b has PERIOD periods of clock a, and stands still at times; a is reset at times. Prints
// the octets that have crossed there and back, and the resets; an octet that was not sent next ends the simulation.
static uint32_t state;
static uint32_t draw(uint32_t below) {
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % below;
}
static void wrong(const char* what) {
    std::printf("%s\n", what);
    std::exit(1);
}
static void arrive(std::deque<uint8_t>& sent, uint8_t octet, const char* what) {
    if (sent.empty() || sent.front() != octet) wrong(what);
    sent.pop_front();
}
int main(int, char** argv) {
    state = std::atoi(argv[1]);
    const double period = std::atof(argv[2]);
    VerilatedContext context;
    Vbench top{&context};
    std::deque<uint8_t> there, back;
    unsigned crossed[2] = {0, 0}, resets = 0, held = 8, busy = 0;
    double a = 0.5, b = 0.3;
    top.a_clk = top.b_clk = 0;
    top.rst = 1;
    top.eval();
    for (int left = std::atoi(argv[3]); left; --left) {
        const bool first = a < b;
        double& next = first ? a : b;
        next += (first ? 0.5 : period / 2);
        if (first ? !top.a_clk : !top.b_clk) {  // a rising edge: what moves there was settled before it
            if (first && !top.a_held) {
                if (top.a_valid && top.a_ready) there.push_back(top.a_data);
                if (top.d_valid && top.d_ready) arrive(back, top.d_data, "back"), ++crossed[1];
            } else if (!first && !top.b_held) {
                if (top.c_valid && top.c_ready) back.push_back(top.c_data);
                if (top.b_valid && top.b_ready) arrive(there, top.b_data, "there"), ++crossed[0];
            }
            (first ? top.a_clk : top.b_clk) = 1;
            top.eval();
            if (first && top.a_held) there.clear(), back.clear();
        } else {
            (first ? top.a_clk : top.b_clk) = 0;
            if (first) {
                if (!draw(32)) busy = draw(2);
                top.a_valid = busy || !draw(8), top.a_data = draw(256), top.d_ready = !busy || !draw(4);
                if (top.rst && !--held) top.rst = 0;
                if (!top.rst && !draw(400)) top.rst = 1, held = 1 + draw(20), ++resets;
            } else {
                top.c_valid = !busy || !draw(8), top.c_data = draw(256), top.b_ready = busy ? draw(2) : 1;
                if (!draw(100)) b += draw(60);
            }
            top.eval();
        }
    }
    std::printf("%u %u %u\n", crossed[0], crossed[1], resets);
    return 0;
}
"""


@pytest.mark.parametrize("period", [0.07, 0.4, 0.93, 1.0, 1.3, 2.6, 17.1])
def test_octets_cross_once_and_in_order(period: float) -> None:
    shell = files("hw.boards").joinpath("shell")
    sources = {f"{name}.sv": shell.joinpath(f"{name}.sv").read_text() for name in ("bf_crossing", "bf_reset_crossing")}
    design = RtlDesign("bench", {}, {}, sources | {"bench.sv": BENCH})
    simulator = verilator.executable(design, HARNESS.replace("Vbench", "Vtop"), "")
    for seed in (1, 2):
        command = [simulator / "sim", str(seed), str(period), "200000"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, (done.stdout, seed)
        there, back, resets = map(int, done.stdout.split())
        assert min(there, back) > 200
        assert resets > 10
