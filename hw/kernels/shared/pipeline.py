"""Kernels that are one pipeline of logic: whole positions per beat, in every cycle, and no memory but the output's."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import prod
from textwrap import wrap
from typing import Any, ClassVar, Self, cast

import numpy as np

from hw import kernels
from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding, Kernel, Role, Rtl, Schedule
from hw.kernels.shared import cell_costs

FOLDED = "folded_lookup_network"
"""The implementation of networks, lookup layers and popcounts that computes a few tables at a time."""
MOST_PREFIX = 1 << 24
"""Maximum number of positions of a frame."""

WRAPPER = """\
`default_nettype none

module {name} (
    input  wire logic clk,
    input  wire logic rst,
    input  wire logic s_valid,
    output      logic s_ready,
    input  wire logic [{entered}-1:0] s_data,
    output      logic m_valid,
    input  wire logic m_ready,
    output      logic [{left}-1:0] m_data
);
{body}
  bf_pipeline_out #(
      .WIDTH ({left}),
      .STAGES({registers})
  ) out (
      .clk,
      .rst,
      .s_valid,
      .s_ready,
      .data({last}),
      .m_valid,
      .m_ready,
      .m_data
  );
endmodule
"""


@dataclass(frozen=True, eq=False)
class Stage:
    """A generated module with ports ``clk``, ``x`` and ``y``: ``y`` is the result of the ``x`` of ``registers`` cycles
    ago, of ``width`` bits. ``sources``: file name -> text, of this module and of those generated that it instantiates.
    Without a ``module`` it is a register.
    """

    module: str
    width: int
    registers: int
    sources: Mapping[str, str] = field(repr=False)


def register(width: int) -> Stage:
    """A register of ``width`` bits."""
    return Stage("", width, 1, {})


def named(prefix: str, text: str) -> tuple[str, str]:
    """The name of a generated module, ``prefix`` and a hash of its ``text``, and the text with NAME replaced by it."""
    name = f"{prefix}_{sha256(text.encode()).hexdigest()[:12]}"
    return name, text.replace("NAME", name)


def header(about: str) -> str:
    """A comment that begins a generated file."""
    return "".join(f"// {line}\n" for line in wrap(about, 116))


class PipelineKernel(Kernel):
    """Base class of kernels whose beats are whole positions, ``pixels`` of them, of which they take one in every cycle.

    Subclasses are dataclasses with ``prefix``, the shape of the positions. Their logic never stalls: a beat is taken
    where the output buffer has room for its result. Each position of a beat has logic of its own.
    """

    role: ClassVar[Role] = "compute"
    sources: ClassVar[tuple[str, ...]] = ("bf_pipeline_out.sv", "bf_stream_out.sv")

    prefix: tuple[int, ...]
    pixels: int = 1

    @abstractmethod
    def stages(self, family: Family) -> Sequence[Stage]:
        """The modules through which a position passes, in this order."""

    @property
    @abstractmethod
    def registers(self) -> int:
        """Registers from a beat to its result: those of all stages. The result enters the output buffer."""

    @abstractmethod
    def logic(self, family: Family) -> Resources:
        """Cost of the stages, for all positions of a beat."""

    @property
    @abstractmethod
    def about(self) -> str:
        """What the kernel computes, for the module's header."""

    @property
    def interval(self) -> int:
        """Beats of a frame. Known without the stages, so that a search plans the logic of those kernels only that may
        be taken."""
        return prod(self.prefix) // self.pixels

    def schedule(self) -> Schedule:
        every = np.ones(1, bool)
        return Schedule((every,), (every,), self.registers + 1, self.registers + 2, self.interval)

    @property
    def buffered(self) -> int:
        """Bits of a beat that the output buffer stores: without those that never change."""
        return self.outputs()[0].width

    @property
    def distinct(self) -> int:
        """Bits of a beat that the output buffer stores, those that equal others left out."""
        return self.buffered

    def resources(self, family: Family) -> Resources:
        credits, width = self.registers + 2, self.buffered
        if cell_costs.buffered_in_registers(width, credits, family):
            width = min(width, self.distinct)
        out = cell_costs.stream_out(width, credits, family)
        return self.logic(family) + out + Resources(lut=2, ff=self.registers)

    def rtl(self, family: Family) -> Rtl:
        stages, count = self.stages(family), self.registers
        about = (
            f"{self.about}. Initiation interval: 1 beat per cycle. Latency: {count + 1} cycle{'s' * (count > 0)}, of "
            f"which the logic takes {count}."
        )
        entered, left = self.inputs()[0].width, self.outputs()[0].width
        settings: dict[str, int | str] = {"entered": entered, "left": left, "registers": count}
        if self.pixels == 1:
            settings |= {"body": "\n".join(_chain(stages, "s_data")), "last": f"x{len(stages)}"}
        else:
            settings |= {"body": "\n".join(_chains(stages, self.pixels, entered, left)), "last": "results"}
        name, text = named(self.op, header(about) + WRAPPER.format(name="NAME", **settings))
        sources = {f"{name}.sv": text}
        for stage in stages:
            sources |= stage.sources
        return Rtl(name, {}, sources=sources)


class PositionKernel(PipelineKernel):
    """Base class of those with one position per beat: they have one folding."""

    def _check_prefix(self) -> None:
        if any(size < 1 for size in self.prefix) or prod(self.prefix) > MOST_PREFIX:
            raise BitfabricError(f"{self.op}: positions of shape {self.prefix}; each size is 1 or more")

    # Folding: there is one, and another implementation computes a few tables at a time.

    def implementations(self) -> tuple[Kernel, ...]:
        folded = cast(Any, kernels.get(FOLDED)).of(self)
        return (self,) if folded is None else (self, folded)

    @property
    def folding(self) -> Folding:
        return Folding(self.outputs()[0].lanes, self.inputs()[0].lanes)

    def foldings(self) -> tuple[Folding, ...]:
        return (self.folding,)

    def fold(self, folding: Folding) -> Self:
        if (folding.pe, folding.simd, folding.pixels) != (self.folding.pe, self.folding.simd, 1):
            raise BitfabricError(
                f"{self.op} computes a whole position per beat: PE={self.folding.pe} and SIMD={self.folding.simd}, not "
                f"PE={folding.pe}, SIMD={folding.simd} and M={folding.pixels}"
            )
        return self


def _chain(stages: Sequence[Stage], entered: str) -> Iterator[str]:
    """The stages, one after the other; the result of stage i is x<i>."""
    for number, stage in enumerate(stages, 1):
        before = entered if number == 1 else f"x{number - 1}"
        late = f"{stage.registers} cycle{'s' * (stage.registers != 1)} after {before}"
        yield f"  logic [{stage.width - 1}:0] x{number};  // {late}"
        if stage.module:
            yield f"  {stage.module} stage_{number} (.clk, .x({before}), .y(x{number}));"
        else:
            yield f"  always_ff @(posedge clk) x{number} <= {before};"


def _chains(stages: Sequence[Stage], pixels: int, entered: int, left: int) -> Iterator[str]:
    """The stages of each position; ``entered`` and ``left`` are the bits of a beat."""
    given, made = entered // pixels, left // pixels
    yield f"  logic [{left - 1}:0] results;"
    yield f"  for (genvar p = 0; p < {pixels}; p++) begin : g_pixel"
    yield f"    logic [{given - 1}:0] position;"
    yield f"    assign position = s_data[p*{given}+:{given}];"
    for line in _chain(stages, "position"):
        yield f"  {line}"
    yield f"    assign results[p*{made}+:{made}] = x{len(stages)};"
    yield "  end"
