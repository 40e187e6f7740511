"""The timing contract of ``hw.ir.kernel.Schedule``, stated again in plain Python: cycle by cycle, and as constraints.

Slow, and written from the contract's text alone; the compiled solvers are compared with it.
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import count, product

import numpy as np

from hw.ir.buffer import Buffer
from hw.ir.graph import Graph, Node
from hw.kernels.fifo.kernel import Fifo

Cycles = dict[str, list[int]]


def words(buffer: Buffer, firing: int) -> tuple[int, int, int]:
    """Position, oldest word and end of the frame of a firing, counted over all frames."""
    frame, within = divmod(firing, buffer.firings)
    indices = list(product(*(range(loop.turns) for loop in buffer.loops)))[within]
    position = oldest = frame * buffer.frame + buffer.start
    for index, loop in zip(indices, buffer.loops, strict=True):
        position, oldest = position + index * loop.step, oldest + index * loop.frees
    return position, oldest, (frame + 1) * buffer.frame


class Kernel:
    """A node in a simulation of ``frames`` frames: the cycles in which it has fired."""

    def __init__(self, node: Node, frames: int) -> None:
        self.node, self.schedule = node, node.kernel.schedule()
        self.total = self.schedule.firings * frames
        self.fired: list[int] = []
        if self.schedule.buffer:
            self.words = [words(self.schedule.buffer, i) for i in range(self.total + 1)]

    def moves(self, masks: tuple[np.ndarray, ...], port: int, firing: int) -> tuple[bool, int]:
        """Whether a firing moves a beat of a port, and the number of that beat."""
        mask = masks[port]
        turn, phase = divmod(firing, len(mask))
        return bool(mask[phase]), int(turn * mask.sum() + mask[:phase].sum())

    def need(self, firing: int) -> int:
        """The beats of the buffer that a firing waits for."""
        buffer = self.schedule.buffer
        position, _, end = self.words[firing]
        return -(-min(position + buffer.reach, end) // buffer.words_per_beat)

    def room(self, beat: int, cycle: int) -> bool:
        """Whether the buffer has room for a beat in this cycle."""
        buffer = self.schedule.buffer
        firings = [0, *(i + 1 for i, fired in enumerate(self.fired) if fired + buffer.release <= cycle)]
        oldest = self.words[firings[-1]][1]
        return (beat + 1) * buffer.words_per_beat - 1 < oldest + buffer.places

    def bounds(self, offered: Cycles, taken: Cycles) -> Iterator[tuple[str, int | None]]:
        """The edges that the next firing waits for and the first cycle that each allows, None if not known."""
        firing, schedule = len(self.fired), self.schedule
        for port, edge in enumerate(self.node.inputs):
            moves, beat = self.moves(schedule.consumes, port, firing)
            if moves:
                yield edge, offered[edge][beat] if beat < len(offered[edge]) else None
        if schedule.buffer and (need := self.need(firing)) > 0:
            edge = self.node.inputs[0]
            yield edge, taken[edge][need - 1] + schedule.buffer.delay if need <= len(taken[edge]) else None
        for port, edge in enumerate(self.node.outputs):
            moves, beat = self.moves(schedule.produces, port, firing)
            if moves and beat >= schedule.credits:
                freed = beat - schedule.credits
                yield edge, taken[edge][freed] + 1 if freed < len(taken[edge]) else None

    def cycle(self, now: int, offered: Cycles, taken: Cycles) -> bool:
        """Do what happens in the cycle ``now``; whether that is anything."""
        schedule, firing, inputs = self.schedule, len(self.fired), self.node.inputs
        done = firing == self.total
        ready = not done and (not self.fired or self.fired[-1] < now)
        happened = False

        def arrived(edge: str) -> bool:
            beat = len(taken[edge])
            return beat < len(offered[edge]) and offered[edge][beat] <= now

        if schedule.buffer and arrived(inputs[0]) and self.room(len(taken[inputs[0]]), now):
            taken[inputs[0]].append(now)
            happened = True
        if schedule.input_registers and ready:
            for port, edge in enumerate(inputs):
                moves, beat = self.moves(schedule.consumes, port, firing)
                if moves and beat == len(taken[edge]) and arrived(edge):
                    taken[edge].append(now)
                    happened = True
        if ready and all(bound is not None and bound <= now for _, bound in self.bounds(offered, taken)):
            for port, edge in enumerate(inputs):
                moves, beat = self.moves(schedule.consumes, port, firing)
                if moves and beat == len(taken[edge]):
                    taken[edge].append(now)
            for port, edge in enumerate(self.node.outputs):
                if self.moves(schedule.produces, port, firing)[0]:
                    offered[edge].append(now + schedule.latency)
            self.fired.append(now)
            happened = True
        return happened


def simulate(
    graph: Graph, frames: int, offers: dict[str, np.ndarray], ready: dict[str, np.ndarray]
) -> tuple[Cycles, Cycles, dict[str, list[int]]]:
    """``offered`` and ``taken`` by edge, and the cycles of all firings by node; they end early in a deadlock."""
    kernels = [Kernel(node, frames) for node in graph]
    offered: Cycles = {edge: [] for edge in graph.edges}
    taken: Cycles = {edge: [] for edge in graph.edges}
    for port in graph.inputs:
        offered[port.edge] = offers[port.edge].tolist()
    quiet, patience = 0, 100 + max(len(stalls) for stalls in ready.values()) + max(o.max() for o in offers.values())
    for now in count():
        happened = [kernel.cycle(now, offered, taken) for kernel in kernels]
        for edge in graph.output_edges:
            beat = len(taken[edge])
            listening = now >= len(ready[edge]) or ready[edge][now]
            if listening and beat < len(offered[edge]) and offered[edge][beat] <= now:
                taken[edge].append(now)
                happened.append(True)
        quiet = 0 if any(happened) else quiet + 1
        if quiet > patience:
            return offered, taken, {kernel.node.name: kernel.fired for kernel in kernels}
    raise AssertionError


def stalls(graph: Graph, frames: int, last: int, offered: Cycles, taken: Cycles) -> dict[str, tuple[int, Cycles]]:
    """By node: cycles of the ``last`` frames, and cycles of waiting by edge."""
    result = {}
    for node in graph:
        kernel = Kernel(node, frames)
        waited = dict.fromkeys((*node.inputs, *node.outputs), 0)
        first = kernel.total - kernel.total // frames * last
        for firing in range(kernel.total):
            earliest = kernel.fired[-1] + 1 if kernel.fired else 0
            cycle, cause = earliest, None
            for edge, bound in kernel.bounds(offered, taken):
                if bound > cycle:
                    cycle, cause = bound, edge
            if cause is not None and firing >= first:
                if kernel.schedule.buffer and cause == node.inputs[0]:
                    times = list(zip([-1, *taken[cause]], taken[cause], offered[cause], strict=False))
                    for before, took, came in times[: kernel.need(firing)]:
                        if took == came:  # the buffer had room before the beat came
                            waited[cause] += len(range(max(before + 1, earliest), min(took, cycle)))
                else:
                    waited[cause] += cycle - earliest
            kernel.fired.append(cycle)
        before = kernel.fired[first - 1] if first else -1
        result[node.name] = (kernel.fired[-1] - before, waited)
    return result


class Constraints:
    """The dependences of a periodic schedule: ``cycle[b] >= cycle[a] + delay - frames * interval``."""

    def __init__(self, graph: Graph, unbounded: set[str] = frozenset()) -> None:
        """``unbounded``: names of FIFOs that are never full."""
        self.above: dict[tuple, list[tuple[tuple, int, int]]] = defaultdict(list)
        self.consumer: dict[str, list[tuple]] = {}
        self.producer: dict[str, list[tuple]] = {}
        for node in graph:
            kernel = Kernel(node, 1)
            self._order("fire", node.name, kernel.total)
            for port, edge in enumerate(node.outputs):
                firings = self._firings(kernel, kernel.schedule.produces, port)
                self.producer[edge] = [("fire", node.name, i) for i in firings]
            for port, edge in enumerate(node.inputs):
                firings = [("fire", node.name, i) for i in self._firings(kernel, kernel.schedule.consumes, port)]
                if kernel.schedule.buffer:
                    self.consumer[edge] = self._order("take", edge, kernel.schedule.buffer.beats)
                    self._buffer(kernel, edge)
                elif kernel.schedule.input_registers:
                    self.consumer[edge] = self._order("take", edge, len(firings))
                    for beat, firing in enumerate(firings):
                        self._add(firing, ("take", edge, beat), 0)
                        self._add(("take", edge, beat), firings[beat - 1], 1, beat == 0)
                else:
                    self.consumer[edge] = firings
        for node in graph:
            schedule = node.kernel.schedule()
            latency = Fifo(node.kernel.inputs()[0], 1 << 30).schedule().latency if node.name in unbounded else None
            latency = schedule.latency if latency is None else latency
            for edge in node.outputs:
                beats = self.producer[edge]
                consumers = self.consumer.get(edge)
                for beat, producer in enumerate(beats):
                    if consumers:
                        self._add(consumers[beat], producer, latency)
                    if node.name not in unbounded:
                        frames, freed = divmod(beat - schedule.credits, len(beats))
                        after = (consumers[freed], 1) if consumers else (beats[freed], latency + 1)
                        self._add(producer, *after, -frames)

    def _add(self, event: tuple, cause: tuple, delay: int, frames: int = 0) -> None:
        self.above[event].append((cause, delay, int(frames)))

    def _order(self, kind: str, name: str, total: int) -> list[tuple]:
        """Events that follow each other by a cycle or more."""
        for i in range(total):
            self._add((kind, name, i), (kind, name, (i - 1) % total), 1, i == 0)
        return [(kind, name, i) for i in range(total)]

    def _firings(self, kernel: Kernel, masks: tuple[np.ndarray, ...], port: int) -> list[int]:
        return [i for i in range(kernel.total) if kernel.moves(masks, port, i)[0]]

    def _buffer(self, kernel: Kernel, edge: str) -> None:
        buffer, name = kernel.schedule.buffer, kernel.node.name
        for firing in range(kernel.total):
            frames, beat = divmod(kernel.need(firing) - 1, buffer.beats)
            self._add(("fire", name, firing), ("take", edge, beat), buffer.delay, -frames)
        for beat in range(buffer.beats):
            end = (beat + 1) * buffer.words_per_beat - 1
            for firing in count(kernel.total * 4, -1):  # the last one before which there was no room
                frames, within = divmod(firing, kernel.total)
                if end - frames * buffer.frame >= kernel.words[within][1] + buffer.places:
                    frames, within = divmod(firing, kernel.total)
                    self._add(("take", edge, beat), ("fire", name, within), buffer.release, -frames)
                    break

    def relax(self, cycle: dict[tuple, int], interval: int) -> bool:
        """Raise ``cycle`` until every constraint holds (Bellman-Ford); whether that ends."""
        for _ in range(len(self.above) + 1):
            raised = False
            for event, causes in self.above.items():
                latest = max(cycle[cause] + delay - frames * interval for cause, delay, frames in causes)
                if latest > cycle[event]:
                    cycle[event], raised = latest, True
            if not raised:
                return True
        return False
