"""Folded lookup network: a few tables at a time, whose wires and contents are read from memory.

Multiplexers that choose the inputs of one of many tables are larger than the tables. So the bits of a position are in
memories, each of which is read at one address in a cycle: a copy for each input of the PE tables that are computed at a
time. A memory of constants says which bits these are, another one what the tables hold (``program``). The bits of a
class are counted as they are computed.
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import ClassVar, Self

import numpy as np
from qonnx.core.datatype import DataType

from hw.fabric.family import Family
from hw.fabric.resources import Resources
from hw.host.errors import BitfabricError
from hw.ir.kernel import Folding, Kernel, Memory, Role, Rtl, Schedule
from hw.ir.stream import Stream
from hw.kernels.arg_max.kernel import ArgMax
from hw.kernels.folded_lookup_network import cost
from hw.kernels.folded_lookup_network.program import Program, program
from hw.kernels.lookup_layer.kernel import LookupLayer
from hw.kernels.lookup_network.chain import LookupChain
from hw.kernels.lookup_network.kernel import LookupNetwork
from hw.kernels.popcount_class.kernel import PopcountClass
from hw.kernels.shared.chain import Layer
from hw.kernels.shared.channel_kernel import credits_for
from hw.kernels.shared.weight_memory import WeightMemory
from hw.kernels.thermometer.kernel import Thermometer

WORDS = 1, 2, 4, 8
"""Tables that are computed at a time."""
READ = 2
"""Cycles from the address to a word of bits, or a feature."""


@dataclass(frozen=True, eq=False)
class FoldedLookupNetwork(LookupChain):
    """The ``layers`` of a ``lookup_network``, or one lookup layer or popcount, ``pe`` tables at a time.

    Input beats hold one feature where the first layer is a thermometer, otherwise ``pe`` bits; output beats the ``pe``
    outputs of tables, one number of a popcount, or the index. A position takes a cycle for each of its input beats,
    one for each ``pe`` bits of the encoder and for each ``pe`` tables, whose classes are padded to equal sizes, and a
    few for each layer. Raises BitfabricError for layers that are no ``lookup_network``, and for a ``pe`` that is not
    among ``WORDS``, or does not divide the bits of the input or of the output.
    """

    op: ClassVar[str] = "folded_lookup_network"
    role: ClassVar[Role] = "compute"
    sources: ClassVar[tuple[str, ...]] = (
        "bf_banked_vector.sv",
        "bf_class_sums.sv",
        "bf_delay.sv",
        "bf_level_encoder.sv",
        "bf_modulo_counter.sv",
        "bf_parity.sv",
        "bf_rom.sv",
        "bf_stream_out.sv",
        "bf_weight_memory.sv",
    )

    for_low_rates: ClassVar[bool] = True

    layers: tuple[Layer, ...]
    pe: int = 1
    parity: bool = False

    @classmethod
    def of(cls, kernel: Kernel) -> Self | None:
        """The implementation of a kernel; None for an encoder alone, and for a pipeline of one layer, which that layer
        has."""
        if isinstance(kernel, LookupNetwork):
            return cls(kernel.layers, parity=kernel.parity) if len(kernel.layers) > 1 else None
        if isinstance(kernel, LookupLayer | PopcountClass):
            return cls((Layer("", "", kernel),), parity=kernel.parity)
        return None

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.layers) == 1 and isinstance(self.kernels[0], Thermometer):
            raise BitfabricError(f"{self.op}: a thermometer without tables; use the kernel thermometer")
        if self.pe not in WORDS or any(bits % self.pe for bits in self._ends):
            raise BitfabricError(
                f"{self.op}: PE={self.pe}; it must be 1, 2, 4 or 8, and divide the bits of the input and of the output"
            )

    # The streams.

    @property
    def _encoder(self) -> Thermometer | None:
        first = self.kernels[0]
        return first if isinstance(first, Thermometer) else None

    @property
    def _popcount(self) -> PopcountClass | None:
        return next((kernel for kernel in self.kernels if isinstance(kernel, PopcountClass)), None)

    @property
    def _ends(self) -> tuple[int, ...]:
        """Bits of a position at the input and at the output, as far as bits enter and leave."""
        entered = () if self._encoder else (self.kernels[0].inputs()[0].shape[-1],)
        left = () if self._popcount else (self.kernels[-1].outputs()[0].shape[-1],)
        return (*entered, *left)

    @property
    def simd(self) -> int:
        """Elements per input beat."""
        return 1 if self._encoder else self.pe

    def inputs(self) -> tuple[Stream, ...]:
        (whole,) = self.kernels[0].inputs()
        return (Stream(whole.shape, whole.dtype, self.simd),)

    def outputs(self) -> tuple[Stream, ...]:
        (whole,) = self.kernels[-1].outputs()
        return (Stream(whole.shape, whole.dtype, 1 if self._popcount else self.pe),)

    # Foldings and implementations.

    @property
    def folding(self) -> Folding:
        return Folding(self.pe, self.simd)

    def foldings(self) -> tuple[Folding, ...]:
        fitting = (pe for pe in WORDS if not any(bits % pe for bits in self._ends))
        return tuple(Folding(pe, 1 if self._encoder else pe) for pe in fitting)

    def fold(self, folding: Folding) -> Self:
        known = {(each.pe, each.simd, each.pixels) for each in self.foldings()}
        if (folding.pe, folding.simd, folding.pixels) not in known:
            raise BitfabricError(
                f"{self.op}: PE={folding.pe}, SIMD={folding.simd} and M={folding.pixels}; it has "
                + ", ".join(f"PE={pe} and SIMD={simd}" for pe, simd, _ in sorted(known))
            )
        made = copy(self)
        object.__setattr__(made, "pe", folding.pe)
        vars(made).pop("program", None)
        return made

    def implementations(self) -> tuple[Kernel, ...]:
        return tuple(self if each.op == self.op else each for each in self.plain().implementations())

    def plain(self) -> Kernel:
        if len(self.layers) > 1:
            return LookupNetwork(self.layers, self.parity)
        (kernel,) = self.kernels
        return kernel.with_parity() if self.parity else kernel

    # The program.

    @cached_property
    def program(self) -> Program:
        """What the memories hold."""
        return program(self.kernels, self.pe)

    @property
    def inputs_of_tables(self) -> int:
        """Inputs of the tables, K."""
        return self.program.wires.shape[2]

    @property
    def word_bits(self) -> int:
        """Bits of the address of a word of bits."""
        return max(1, (self.program.words - 1).bit_length())

    @property
    def wire_bits(self) -> int:
        """Bits of the number of a bit."""
        return self.word_bits + (self.pe - 1).bit_length()

    @property
    def feature_bits(self) -> int:
        """Bits of the number of a feature."""
        return max(1, (self.kernels[0].inputs()[0].shape[-1] - 1).bit_length())

    @property
    def code_bits(self) -> int:
        """Bits of a level of the encoder."""
        return int(self.program.codes.max(initial=1)).bit_length()

    def fields(self) -> dict[str, np.ndarray]:
        """The contents of the memories, bit by bit: name -> (steps, width).

        A word of ``ENCODER`` has for each lane a feature, in the low bits, and a level; one of ``WIRES`` the wires of
        each lane, that of the lowest bit of the address first; one of ``TABLES`` the table of each lane.
        """
        made, steps = self.program, {}
        if self._encoder:
            parts = _bits(made.features, self.feature_bits), _bits(made.codes, self.code_bits)
            steps["ENCODER"] = np.concatenate(parts, axis=2)
        steps |= {"WIRES": _bits(made.wires, self.wire_bits), "TABLES": made.tables}
        return {name: each.reshape(len(each), -1) for name, each in steps.items()}

    # The hardware.

    def memories(self, family: Family | None = None) -> dict[str, WeightMemory]:
        """The memories of ``fields``; with parity bits where there are any in ``family``."""
        made = self.program
        shapes = {"ENCODER": (len(made.features), self.pe * (self.feature_bits + self.code_bits))}
        shapes["WIRES"] = len(made.wires), self.pe * self.inputs_of_tables * self.wire_bits
        shapes["TABLES"] = len(made.tables), self.pe << self.inputs_of_tables
        known = {name: WeightMemory(*shape) for name, shape in shapes.items() if shape[0]}
        if family is None or not self.parity:
            return known
        return {name: each.with_parity(family) for name, each in known.items()}

    def has_parity(self, family: Family) -> bool:
        return any(each.parity for each in self.memories(family).values())

    @property
    def _fetch(self) -> tuple[int, int]:
        """Cycles from a step to its word of the encoder's memory, and to that of wires."""
        known = self.memories()
        return known["ENCODER"].latency if self._encoder else 0, known["WIRES"].latency

    @property
    def _evaluate(self) -> int:
        """Cycles from the word of wires of a step to the outputs of its tables."""
        return READ + (self.pe > 1) + 1

    @property
    def latency(self) -> int:
        """Cycles from the last step of an output beat to its valid."""
        result = self._fetch[1] + self._evaluate
        if self._popcount:
            result += 1 + (self.pe > 1) + (isinstance(self.kernels[-1], ArgMax))
        return result + 1

    @cached_property
    def _pattern(self) -> tuple[np.ndarray, np.ndarray]:
        """Which firings of a position consume a beat, and which produce one."""
        made, loads = self.program, self.inputs()[0].shape[-1] // self.simd
        before, steps = loads + len(made.features), len(made.wires)
        consumes, produces = np.zeros((2, before + steps), np.bool_)
        consumes[:loads] = True
        if isinstance(self.kernels[-1], ArgMax):
            produces[-1] = True
        else:
            produces[before + made.hidden :][made.turns - 1 if made.turns else 0 :: made.turns or 1] = True
        return consumes, produces

    def schedule(self) -> Schedule:
        consumes, produces = self._pattern
        return Schedule((consumes,), (produces,), self.latency, self.credits, prod(self.prefix))

    @property
    def credits(self) -> int:
        """Beats of the output buffer."""
        return credits_for(self._pattern[1], self.latency)

    def resources(self, family: Family) -> Resources:
        return cost.resources(self, family)

    def rtl(self, family: Family) -> Rtl:
        made, known, count, fields = self.program, self.memories(family), self._popcount, self.fields()
        (stream,), last = self.inputs(), self.kernels[-1]
        offset = stream.dtype.signed() and stream.dtype != DataType["BIPOLAR"]
        parameters: dict[str, int | str | tuple[int, ...]] = {
            "IN_BITS": stream.dtype.bitwidth(),
            "IN_SIGNED": int(offset),
            "LOADS": stream.shape[-1] // self.simd,
            "ENCODES": len(made.features),
            "STEPS": len(made.wires),
            "HIDDEN": made.hidden,
            "PE": self.pe,
            "K": self.inputs_of_tables,
            "WORD_BITS": self.word_bits,
            "WORDS": made.words,
            "FEATURE_BITS": self.feature_bits,
            "CODE_BITS": self.code_bits,
            "BITS_STYLE": cost.style(1 << self.word_bits, self.pe, family),
            "OUTPUT": "bits" if count is None else "index" if isinstance(last, ArgMax) else "sums",
            "CREDITS": self.credits,
            "PARITY": int(self.has_parity(family)),
        }
        if self._encoder:
            parameters["FEATURES_STYLE"] = cost.style(1 << self.feature_bits, stream.dtype.bitwidth(), family)
        if count is not None:
            sums = count.output_dtype
            parameters |= {
                "CLASSES": len(count.offsets),
                "TURNS": made.turns,
                "SUM_BITS": sums.bitwidth(),
                "SUM_SIGNED": int(sums.signed()),
                "OFFSETS": tuple((count.offsets & 0xFFFFFFFF).tolist()),
            }
        if isinstance(last, ArgMax):
            parameters["INDEX_BITS"] = last.outputs()[0].dtype.bitwidth()
        for name, each in known.items():
            own = each.parameters(family)
            own["LATENCY"] = own.pop("WEIGHT_LATENCY")
            parameters |= {f"{name}_{key}": value for key, value in own.items()}
        contents = {name: each.contents(fields[name], family) for name, each in known.items()}
        memories: Mapping[str, tuple[Memory, ...]] = contents
        return Rtl(f"bf_{self.op}", parameters, memories)


def _bits(values: np.ndarray, width: int) -> np.ndarray:
    """Integers (steps, ...) as bits (steps, ..., width), the lowest first."""
    return (values[..., None] >> np.arange(width) & 1).astype(np.uint8)
