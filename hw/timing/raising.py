"""Schedules of a frame that repeats, found by raising the events of an earlier one that come too early.

An event comes too early where one that it waits for has been raised, or binds it now and did not before. Raising goes
on in sweeps over the nodes, up and down, through short spans of events that something has changed for.

Each event that is raised remembers which one raised it, its *parent*, and how many cycles after that it comes. Now and
then the parents are followed: an event that is later than its parent knew passes that on, however long the way is, and
where parents form a loop they raise each other for ever: there is no schedule. (When the last parent of a loop was
remembered, its child came less late than all cycles from parent to child around the loop together; so their sum is
positive.) Without that, a loop that winds through the frame, a few beats further with every turn, would be followed
turn by turn.

What is found is the least schedule that is nowhere earlier than the one before.
"""

from typing import NamedTuple

import numba
import numpy as np

# Values of ``mode``: as its kernel, a FIFO that is not there, one that is never full.
PLAIN, GONE, ENDLESS = range(3)
SPAN = 32
"""Events that are looked at together. The events of a node begin at a multiple of it."""
# Places in ``counts``.
_RAISED, _VISITED, _WALKS = range(3)
_TURNS = 8
"""How often a node is gone through in one sweep, at most."""


class Frame(NamedTuple):
    """The events of one frame and what binds them; all numbers of nodes, edges, ports and beats follow ``Tables``.

    Beats that a buffer takes on its own are events as well. ``first``: by node its first event. ``own``: by node with a
    buffer the first event that is a beat, else -1. ``node``: by span of events the node. ``writer``, ``reader``: by
    edge the node, or -1. ``giver``, ``taker``: by beat the event that gives it and the one that takes it; a beat that
    goes outside is taken when it is offered, so its taker is its giver. All four see past FIFOs that are not there.
    ``taken``, ``given``: by element of ``takes`` and ``gives`` how many of the pattern before it are set.
    ``memory``: for an event of a node with a buffer the last beat that it or one before it needs, for a beat the event
    that frees its place; in frames before where negative. ``waiter``: the first event whose ``memory`` it is, or -1.
    """

    first: np.ndarray
    own: np.ndarray
    node: np.ndarray
    writer: np.ndarray
    reader: np.ndarray
    giver: np.ndarray
    taker: np.ndarray
    taken: np.ndarray
    given: np.ndarray
    memory: np.ndarray
    waiter: np.ndarray


class State(NamedTuple):
    """A schedule: ``when``, the cycles of the events; and what a try needs.

    ``parent``: by event, -1 between tries and where not raised. ``since``: the cycles since that. ``raised``: events
    that are raised. ``before``: by event its cycle before that. ``dirty``: by span whether something has changed for
    its events. ``news``: by event whether it is later and what waits for it has not been told. ``awake``: by node
    whether a span is dirty. ``walk``, ``path``: by event, to follow parents. ``counts``: events raised, events looked
    at, times that parents were followed.
    """

    when: np.ndarray
    parent: np.ndarray
    since: np.ndarray
    raised: np.ndarray
    before: np.ndarray
    dirty: np.ndarray
    news: np.ndarray
    awake: np.ndarray
    walk: np.ndarray
    path: np.ndarray
    counts: np.ndarray


def begin(events: int, nodes: int) -> State:
    """All events in cycle 0."""

    def array(dtype: type = np.int64, size: int = events) -> np.ndarray:
        return np.zeros(size, dtype)

    return State(
        when=array(), parent=np.full(events, -1, np.int32), since=array(), raised=array(np.int32), before=array(),
        dirty=array(np.bool_, events // SPAN), news=array(np.bool_), awake=array(np.bool_, nodes),
        walk=array(np.int32), path=array(np.int32), counts=array(size=3),
    )  # fmt: skip


@numba.njit(cache=True)
def settle(tables, frame, state, mode, cycles, changed):  # pragma: no cover - compiled
    """Raise events, those of ``changed`` nodes first, until none comes too early; whether that ends. If it does not,
    all is as before."""
    count = len(changed)
    low, high = count, -1
    for node in range(count):
        if changed[node]:
            _mark(tables, frame, state, node)
            low, high = min(low, node), max(high, node)
    state.counts[:_WALKS] = 0
    followed = 0
    up = holds = True
    while holds:
        # Near the change first: what loops, mostly loops there.
        idle, more = True, False
        for step in range(count):
            node = step if up else count - 1 - step
            if not state.awake[node]:
                continue
            if not low <= node <= high:
                more = True
                continue
            idle = False
            state.awake[node] = False
            _relax(tables, frame, state, mode, cycles, node)
        if idle:
            if not more:
                break
            low, high = low - (high - low) - 4, high + (high - low) + 4
            continue
        up = not up
        if state.counts[_VISITED] - followed > state.counts[_RAISED]:
            holds = _follow(frame, state)
            followed = state.counts[_VISITED]
    if not holds:
        state.dirty[:] = False
        state.news[:] = False
        state.awake[:] = False
    for i in range(state.counts[_RAISED]):
        event = state.raised[i]
        state.parent[event] = -1
        if not holds:
            state.when[event] = state.before[event]
    return holds


@numba.njit(cache=True)
def _mark(tables, frame, state, node):  # pragma: no cover - compiled
    """All events of a node are to be looked at."""
    state.awake[node] = True
    first = frame.first[node]
    state.dirty[first // SPAN : (first + tables.nodes[node, 1] - 1) // SPAN + 1] = True
    own = frame.own[node]
    if own >= 0:
        state.dirty[own // SPAN : (own + tables.buffers[tables.nodes[node, 8], 0] - 1) // SPAN + 1] = True


@numba.njit(cache=True)
def _relax(tables, frame, state, mode, cycles, node):  # pragma: no cover - compiled
    """Raise what comes too early in a node, where something has changed; not for ever in one go."""
    own = frame.own[node]
    for _ in range(_TURNS):
        work = own >= 0 and _take(tables, frame, state, mode, cycles, node)
        if not _act(tables, frame, state, mode, cycles, node) and not work:
            return
    state.awake[node] = True


@numba.njit(cache=True)
def _take(tables, frame, state, mode, cycles, node):  # pragma: no cover - compiled
    """Raise beats that a buffer takes too early; whether there was something to look at."""
    when, parent, since, raised, before, dirty, news, awake, _, _, counts = state
    memory, waiter, giver, offset = frame.memory, frame.waiter, frame.giver, tables.offset
    own, first, total = frame.own[node], frame.first[node], tables.nodes[node, 1]
    beats, _, _, _, _, release = tables.buffers[tables.nodes[node, 8], :6]
    edge = tables.ports[tables.nodes[node, 4], 0]
    at, writer = offset[edge] - own, frame.writer[edge]
    latency, credits = tables.nodes[max(writer, 0), 2:4]
    backs = writer >= 0 and mode[writer] == PLAIN
    count = counts[_RAISED]
    work = passed = False
    for span in range(own // SPAN, (own + beats - 1) // SPAN + 1):
        if not dirty[span]:
            continue
        dirty[span] = False
        work = True
        start, end = span * SPAN, min(own + beats, span * SPAN + SPAN)
        counts[_VISITED] += end - start
        for event in range(start, end):
            if event > own:
                by = event - 1
                cycle = when[by] + 1
            else:
                by = own + beats - 1
                cycle = when[by] + 1 - cycles
            free = memory[event]
            turn = 0 if 0 <= free < total else free // total
            place = when[first + free - turn * total] + turn * cycles + release
            if place >= cycle:
                by, cycle = first + free - turn * total, place
            if writer >= 0 and when[giver[at + event]] + latency >= cycle:
                by = giver[at + event]
                cycle = when[by] + latency
            if cycle > when[event]:
                if parent[event] < 0:
                    before[event] = when[event]
                    raised[count] = event
                    count += 1
                since[event] = cycle - when[by]
                parent[event] = by
                when[event] = cycle
            elif not news[event]:
                continue
            news[event] = False
            passed = True
            dirty[(event + 1 if event + 1 < own + beats else own) // SPAN] = True
            if waiter[event] >= 0:
                dirty[waiter[event] // SPAN] = True
            if backs:
                beat = event - own + credits
                dirty[giver[at + own + (beat if beat < beats else beat % beats)] // SPAN] = True
    counts[_RAISED] = count
    if passed and backs:
        awake[writer] = True
    return work


@numba.njit(cache=True)
def _act(tables, frame, state, mode, cycles, node):  # pragma: no cover - compiled
    """Raise events that come too early; whether there was something to look at."""
    nodes, ports, gaps, takes, gives, offset, _, buffers, _, _ = tables
    when, parent, since, raised, before, dirty, news, awake, _, _, counts = state
    first, own, _, writers, readers, giver, taker, taken, given, memory, waiter = frame
    first, own = first[node], own[node]
    period, total, own_latency, own_credits, in0, in1, out0, out1, buffer, pattern, _ = nodes[node]
    plain = mode[node] == PLAIN
    delay = beats = 0
    if own >= 0:
        beats, delay = buffers[buffer, 0], buffers[buffer, 4]
    count = counts[_RAISED]
    work = passed = False
    for span in range(first // SPAN, (first + total - 1) // SPAN + 1):
        if not dirty[span]:
            continue
        dirty[span] = False
        work = True
        start, end = span * SPAN, min(first + total, span * SPAN + SPAN)
        counts[_VISITED] += end - start
        turn, phase = (start - first) // period, (start - first) % period - 1
        for event in range(start, end):
            phase += 1
            if phase == period:
                turn, phase = turn + 1, 0
            if event > first:
                by = event - 1
                cycle = when[by] + gaps[pattern + phase]
            else:
                by = first + total - 1
                cycle = when[by] - cycles + gaps[pattern]
            for port in range(in0, in1):
                edge, at = ports[port]
                if takes[at + phase] and writers[edge] >= 0:
                    at += port
                    source = giver[offset[edge] + turn * taken[at + period] + taken[at + phase]]
                    offered = when[source] + nodes[writers[edge], 2]
                    if offered >= cycle:
                        by, cycle = source, offered
            if own >= 0:
                need = memory[event]
                frames = 0 if need >= 0 else need // beats
                source = own + need - frames * beats
                if when[source] + frames * cycles + delay >= cycle:
                    by, cycle = source, when[source] + frames * cycles + delay
            if plain:
                for port in range(out0, out1):
                    edge, at = ports[port]
                    if gives[at + phase]:
                        at += port
                        back = turn * given[at + period] + given[at + phase] - own_credits
                        size = offset[edge + 1] - offset[edge]
                        frames = 0 if back >= 0 else back // size
                        source = taker[offset[edge] + back - frames * size]
                        free = when[source] + frames * cycles + (1 if readers[edge] >= 0 else 1 + own_latency)
                        if free >= cycle:
                            by, cycle = source, free
            if cycle > when[event]:
                if parent[event] < 0:
                    before[event] = when[event]
                    raised[count] = event
                    count += 1
                since[event] = cycle - when[by]
                parent[event] = by
                when[event] = cycle
            elif not news[event]:
                continue
            # What waits for it is to be looked at.
            news[event] = False
            passed = True
            dirty[(event + 1 if event + 1 < first + total else first) // SPAN] = True
            if waiter[event] >= 0:
                dirty[waiter[event] // SPAN] = True
            for port in range(in0, in1):
                edge, at = ports[port]
                if takes[at + phase] and writers[edge] >= 0 and mode[writers[edge]] == PLAIN:
                    at += port
                    beat = turn * taken[at + period] + taken[at + phase] + nodes[writers[edge], 3]
                    size = offset[edge + 1] - offset[edge]
                    dirty[giver[offset[edge] + (beat if beat < size else beat % size)] // SPAN] = True
            for port in range(out0, out1):
                edge, at = ports[port]
                if gives[at + phase]:
                    at += port
                    beat = turn * given[at + period] + given[at + phase]
                    size = offset[edge + 1] - offset[edge]
                    if readers[edge] >= 0:
                        dirty[taker[offset[edge] + beat] // SPAN] = True
                    elif plain:
                        dirty[giver[offset[edge] + (beat + own_credits) % size] // SPAN] = True
    counts[_RAISED] = count
    if passed:
        for port in range(in0, in1):
            if writers[ports[port, 0]] >= 0:
                awake[writers[ports[port, 0]]] = True
        for port in range(out0, out1):
            if readers[ports[port, 0]] >= 0:
                awake[readers[ports[port, 0]]] = True
    return work


@numba.njit(cache=True)
def _follow(frame, state):  # pragma: no cover - compiled
    """Make all that is raised as late as its parents know; whether they form no loop."""
    when, parent, since, raised, _, dirty, news, awake, walk, path, counts = state
    spans = frame.node
    counts[_WALKS] += 1
    done = 2 * counts[_WALKS]
    for i in range(counts[_RAISED]):
        length, at = 0, raised[i]
        while parent[at] >= 0 and walk[at] < done - 1:
            walk[at] = done - 1
            path[length] = at
            length += 1
            at = parent[at]
        if parent[at] >= 0 and walk[at] == done - 1:
            return False
        for back in range(length - 1, -1, -1):
            at = path[back]
            walk[at] = done
            cycle = when[parent[at]] + since[at]
            if cycle > when[at]:
                when[at] = cycle
                news[at] = dirty[at // SPAN] = awake[spans[at // SPAN]] = True
    return True
