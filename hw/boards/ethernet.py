"""UDP over Ethernet as a transport: a PHY for 1 Gbit/s behind RGMII."""

from ipaddress import IPv4Address

from hw.boards.targets import Ethernet
from hw.boards.transport import DATAGRAM, Datagrams, Transport
from hw.fabric.devices import Device
from hw.fabric.toolchain import Pin
from hw.families import spec_of
from hw.host.errors import UsageError

CLOCK_HZ = 125e6
"""The clock of the PHY: octets per second on the line."""
BUFFER_LOG = 13
"""log2 of the octets of datagrams that may wait for the image."""
TURNAROUND = 24, 4
"""Cycles of the PHY's clock and of the image's on the way there and back beside those of the octets, measured on the
virtual board."""
OTHER_FRAMES = 64
"""Of so many frames of the simulated host, 4 are not for the board, or damaged."""


def ethernet(link: Ethernet, io: str, device: Device, clock_hz: float) -> Transport:
    """The transport of an image with this clock. Raises UsageError where the device has no pads for it."""
    if (ddr := spec_of(device.family).ddr) is None:
        raise UsageError(
            f"no pads for both edges of a clock of a {device.name} are known here, which 'ethernet' needs; "
            "use 'uart' or 'spi'"
        )

    def delay(nanoseconds: float) -> int:
        return min(ddr.steps, round(nanoseconds / ddr.step_ns))

    late, early = delay(link.rx_delay_ns), delay(link.tx_delay_ns)
    received = ["eth_rx_data[0]", "eth_rx_data[1]", "eth_rx_data[2]", "eth_rx_data[3]", "eth_rx_ctl"]
    sent = [each.replace("rx", "tx") for each in received]
    pads = [
        ddr.input.format(
            name=f"in{i}", pin=pin, clock="eth_rx_clk", delay=late, rise=f"eth_rise[{i}]", fall=f"eth_fall[{i}]"
        )
        for i, pin in enumerate(received)
    ]
    pads += [
        ddr.output.format(
            name=f"out{i}", pin=pin, clock="eth_rx_clk", delay=0, rise=f"eth_high[{i}]", fall=f"eth_low[{i}]"
        )
        for i, pin in enumerate(sent)
    ]
    pads.append(
        ddr.output.format(name="out_clock", pin="eth_tx_clk", clock="eth_rx_clk", delay=early, rise="1'b1", fall="1'b0")
    )
    listed = "".join(f"    {each}\n" for each in pads)
    mac, ip = int(link.mac.replace(":", ""), 16), int(IPv4Address(link.ip))
    return Transport(
        "ethernet",
        "1 Gbit/s of Ethernet",
        (
            "bf_ethernet",
            "bf_eth_rx",
            "bf_eth_tx",
            "bf_udp_rx",
            "bf_udp_tx",
            "bf_datagram_buffer",
            "bf_phy_reset",
            "bf_crossing",
            "bf_reset_crossing",
        ),
        (
            ("input  wire logic eth_rx_clk", (Pin("eth_rx_clk", link.rx_clk, io, mhz=CLOCK_HZ / 1e6),)),
            ("input  wire logic eth_rx_ctl", (Pin("eth_rx_ctl", link.rx_ctl, io),)),
            # Pulled up while the PHY is reset, when it reads its configuration from these pins: RGMII, all speeds.
            (
                "input  wire logic [3:0] eth_rx_data",
                tuple(Pin(f"eth_rx_data[{i}]", pin, io, "up") for i, pin in enumerate(link.rx_data)),
            ),
            ("output      logic eth_tx_clk", (Pin("eth_tx_clk", link.tx_clk, io),)),
            ("output      logic eth_tx_ctl", (Pin("eth_tx_ctl", link.tx_ctl, io),)),
            (
                "output      logic [3:0] eth_tx_data",
                tuple(Pin(f"eth_tx_data[{i}]", pin, io) for i, pin in enumerate(link.tx_data)),
            ),
            ("output      logic eth_reset", (Pin("eth_reset", link.reset, io),)),
        ),
        f"""\
  logic [4:0] eth_rise, eth_fall, eth_high, eth_low;
  if (1) begin : g_pads
{listed}  end
  assign rx_error = 1'b0;
  bf_ethernet #(
      .MAC   (48'h{mac:012x}),
      .IP    (32'h{ip:08x}),
      .PORT  (16'd{link.port}),
      .BUFFER({BUFFER_LOG}),
      .LONG  ({DATAGRAM.bit_length() - 1})
  ) port (
      .clk,
      .rst,
      .phy_rst_n(eth_reset),
      .eth_clk  (eth_rx_clk),
      .rx_rise  (eth_rise),
      .rx_fall  (eth_fall),
      .tx_rise  (eth_high),
      .tx_fall  (eth_low),
      .rx_valid,
      .rx_ready,
      .rx_data,
      .tx_valid,
      .tx_ready,
      .tx_data
  );
""",
        8,
        clock_hz / CLOCK_HZ,
        clock_hz / CLOCK_HZ,
        {"ip": link.ip, "port": link.port, "buffer": 1 << BUFFER_LOG},
        1e9 / CLOCK_HZ,
        turnaround=TURNAROUND[0] * clock_hz / CLOCK_HZ + TURNAROUND[1],
        models=("ddr_pad.sv",),
        datagrams=Datagrams(clock_hz / CLOCK_HZ, 1 << BUFFER_LOG),
        constants={"BOARD_MAC": mac, "BOARD_IP": ip, "BOARD_PORT": link.port, "OTHERS": OTHER_FRAMES},
    )
