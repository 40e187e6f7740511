"""The SPI slave alone, as RTL and after synthesis for every family: what it receives it sends back, at any SCK."""

import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from hw.families import families, find_family, reference_device
from hw.rtl.design import RtlDesign
from hw.simulation import verilator
from hw.synth import netlist, yosys

HARNESS = r"""
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include "Vtop.h"
#include "verilated.h"

// sim SEED PERIOD OCTETS: a master whose SCK has PERIOD periods of clk sends so many octets, and FILL after them until
// all have come back; SCK stands still at times, and CS ends at times, within an octet too, which is sent again.
static const uint8_t FILL = 0x7f;
static uint32_t state;
static uint32_t draw(uint32_t below) {
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % below;
}
static VerilatedContext context;
static Vtop top{&context};
static std::deque<uint8_t> inside;
static double now = 0, edge = 0.5;
static void pass(double time) {  // periods of clk, in which the octets that came in go back
    for (const double end = now + time; edge < end; edge += 0.5) {
        if (!top.clk) {
            const bool in = top.rx_valid && top.rx_ready, out = top.tx_valid && top.tx_ready;
            const uint8_t octet = top.rx_data;
            top.clk = 1;
            top.eval();
            if (in) inside.push_back(octet);
            if (out) inside.pop_front();
        } else {
            top.clk = 0;
            top.rx_ready = !draw(3);
            top.tx_valid = !inside.empty();
            if (!inside.empty()) top.tx_data = inside.front();
            top.eval();
        }
    }
    now += time;
}
static void level(bool sck, double time) {
    top.sck = sck;
    top.eval();
    pass(time);
}
int main(int, char** argv) {
    state = std::atoi(argv[1]);
    const double half = std::atof(argv[2]) / 2;
    const unsigned octets = std::atoi(argv[3]);
    std::deque<uint8_t> sent;
    top.clk = top.sck = top.mosi = top.tx_valid = 0;
    top.cs_n = top.rst = top.rx_ready = 1;
    top.eval();
    pass(4);
    top.rst = 0;
    pass(4);
    unsigned came = 0, made = 0;
    for (unsigned turn = 0; came < octets && turn < 20 * octets; ++turn) {
        top.cs_n = 0;
        top.eval();
        pass(half);
        const uint8_t octet = made < octets ? draw(FILL) : FILL;
        unsigned bits = draw(6) ? 8 : 1 + draw(7);
        uint8_t in = 0;
        for (unsigned bit = 0; bit < bits; ++bit) {
            top.mosi = octet >> (7 - bit) & 1;
            level(false, half);
            in = static_cast<uint8_t>(in << 1 | top.miso);
            level(true, half);
            level(false, 0);
        }
        pass(half);
        if (bits == 8) {
            if (octet != FILL) sent.push_back(octet), ++made;
            if (in != FILL) {
                if (sent.empty() || sent.front() != in) return std::printf("octet %u is wrong\n", came), 1;
                sent.pop_front();
                ++came;
            }
        }
        if (bits < 8 || !draw(5)) {
            top.cs_n = 1;
            top.eval();
            pass(half);
        }
        if (!draw(9)) pass(draw(100));
    }
    std::printf("%u\n", came);
    return 0;
}
"""


def spi() -> RtlDesign:
    shell = files("hw.boards").joinpath("shell")
    names = ("bf_spi", "bf_crossing", "bf_reset_crossing")
    return RtlDesign("bf_spi", {}, {}, {f"{name}.sv": shell.joinpath(f"{name}.sv").read_text() for name in names})


def check(design: RtlDesign) -> None:
    simulator = verilator.executable(design, HARNESS, "")
    # The master waits for nothing, so 8 periods of SCK must be as long as an octet takes here: on average 3 of clk.
    for seed, period in enumerate((0.9, 1.0, 1.7, 5.3, 40.0)):
        command = [simulator / "sim", str(seed), str(period), "1500"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert (done.returncode, done.stdout) == (0, "1500\n"), (period, done.stdout)


def test_octets_come_back() -> None:
    check(spi())


@pytest.mark.slow
@pytest.mark.parametrize("name", families())
def test_octets_come_back_below_rtl(name: str, tmp_path: Path) -> None:
    """Flip-flops of falling edges and with asynchronous resets are cells of their own."""
    family = find_family(name)
    made = yosys.synthesise(spi(), reference_device(family), tmp_path)
    check(netlist.design(made.netlist, family))
