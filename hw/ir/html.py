"""A dataflow graph as HTML: one row per layer, in execution order, beside rails that show the branches.

The lines of the rails are given in percent of a row's height, so that they meet at any font and line wrap. Used by
notebooks (``Graph._repr_html_``) and by the report.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Protocol

from hw.host.text import printable
from hw.ir.kernel import Kernel
from hw.ir.origin import Origin
from hw.ir.stream import Stream


class DrawnPort(Protocol):
    """An end of a graph: its name and its edge."""

    @property
    def name(self) -> str: ...
    @property
    def edge(self) -> str: ...


class DrawnNode(Protocol):
    """A kernel and the edges that it reads and writes."""

    @property
    def name(self) -> str: ...
    @property
    def kernel(self) -> Kernel: ...
    @property
    def inputs(self) -> Sequence[str]: ...
    @property
    def outputs(self) -> Sequence[str]: ...
    @property
    def origin(self) -> Origin: ...


class Drawn(Protocol):
    """The interface of a graph for drawing: nodes in execution order, ports, and the streams on the edges."""

    @property
    def inputs(self) -> Sequence[DrawnPort]: ...
    @property
    def outputs(self) -> Sequence[DrawnPort]: ...
    @property
    def output_edges(self) -> Sequence[str]: ...
    @property
    def edges(self) -> Mapping[str, Stream]: ...
    def __iter__(self) -> Iterator[DrawnNode]: ...
    def node(self, name: str) -> DrawnNode: ...


LANE = 18
"""Pixels from one rail to the next."""

STYLE = """
.bf-graph{--bf-compute:#4f5bd5;--bf-quantize:#c77700;--bf-window:#0b8a7d;--bf-join:#c2418f;--bf-plumbing:#8b93a1;
--bf-line:#aab1bd;--bf-faint:#6b7280;--bf-rule:#e3e6eb;border-collapse:collapse;width:100%;font-size:.86rem;
line-height:1.3;font-variant-numeric:tabular-nums}
@media (prefers-color-scheme:dark){.bf-graph{--bf-compute:#8b95ff;--bf-quantize:#f0a93b;--bf-window:#3cc7b8;
--bf-join:#f07cc0;--bf-plumbing:#7d8694;--bf-line:#5a6370;--bf-faint:#9aa3b0;--bf-rule:#2a3038}}
.bf-graph th,.bf-graph td{padding:.28rem .6rem;text-align:right;vertical-align:middle;border:0;background:none}
.bf-graph th{font-weight:600;white-space:nowrap;border-bottom:1px solid var(--bf-rule);color:var(--bf-faint)}
.bf-graph tbody tr{border-bottom:1px solid var(--bf-rule);background:none}
.bf-graph .bf-name,.bf-graph .bf-left{text-align:left}
.bf-graph .bf-name b{font-weight:600;overflow-wrap:anywhere}
.bf-graph .bf-name .bf-origin{font-size:.92em;overflow-wrap:anywhere}
.bf-graph .bf-name span,.bf-graph .bf-port{color:var(--bf-faint)}
.bf-graph td.bf-rail{position:relative;padding:0}
.bf-rail svg{position:absolute;left:0;top:0;height:100%;overflow:visible}
.bf-rail line{stroke:var(--bf-line);stroke-width:2}
.bf-compute{fill:var(--bf-compute)}.bf-quantize{fill:var(--bf-quantize)}.bf-window{fill:var(--bf-window)}
.bf-join{fill:var(--bf-join)}.bf-plumbing{fill:var(--bf-plumbing)}.bf-end{fill:var(--bf-line)}
"""


@dataclass(frozen=True)
class Row:
    """One stop of the rails: a node, or an end of the graph (``node`` is None).

    ``edge`` is the first edge that it writes, or reads where it writes none. The stop is drawn in ``lane``. Rails enter
    it from the lanes ``above`` and leave it in the lanes ``below``; other rails pass in the lanes ``through``.
    """

    name: str
    node: str | None
    edge: str
    lane: int
    above: tuple[int, ...]
    below: tuple[int, ...]
    through: tuple[int, ...]


def rows(graph: Drawn) -> list[Row]:
    """The stops of a graph from its inputs to its outputs; every edge keeps its lane from writer to reader."""
    lanes: list[str | None] = []
    result: list[Row] = []

    def free() -> int:
        if None not in lanes:
            lanes.append(None)
        return lanes.index(None)

    def stop(name: str, node: str | None, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        above = tuple(lanes.index(edge) for edge in inputs)
        for lane in above:
            lanes[lane] = None
        through = tuple(lane for lane, edge in enumerate(lanes) if edge is not None)
        own = min(above) if above else free()
        below = []
        for edge in outputs:
            lane = own if lanes[own] is None else free()
            lanes[lane] = edge
            below.append(lane)
        result.append(Row(name, node, (*outputs, *inputs)[0], own, above, tuple(below), through))

    for port in graph.inputs:
        stop(port.name, None, (), (port.edge,))
    for node in graph:
        stop(node.name, node.name, node.inputs, node.outputs)
    for edge in graph.output_edges:
        stop(", ".join(port.name for port in graph.outputs if port.edge == edge), None, (edge,), ())
    return result


def rail(row: Row, width: int, group: str) -> str:
    """The SVG of one row, ``width`` lanes wide; its node in the colour of ``group``: a kernel's role, or ``end``."""

    def x(lane: int) -> float:
        return LANE * (lane + 0.5)

    lines = [(x(lane), "0", x(lane), "100%") for lane in row.through]
    lines += [(x(lane), "0", x(row.lane), "50%") for lane in row.above]
    lines += [(x(row.lane), "50%", x(lane), "100%") for lane in row.below]
    drawn = "".join(f'<line x1="{a:g}" y1="{b}" x2="{c:g}" y2="{d}"/>' for a, b, c, d in lines)
    radius = 4 if group in ("plumbing", "end") else 6.5
    node = f'<circle class="bf-{group}" cx="{x(row.lane):g}" cy="50%" r="{radius:g}"/>'
    return f'<svg width="{LANE * width}" aria-hidden="true">{drawn}{node}</svg>'


def weights(kernel: Kernel) -> str:
    """Number and type of a kernel's weights; "" where it has none."""
    values = getattr(kernel, "weights", None)
    return "" if values is None else f"{values.size:,} {kernel.weight_dtype.name}"  # type: ignore[attr-defined]


def table(graph: Drawn, extra: Mapping[str, Mapping[str, str]] | None = None) -> str:
    """The whole graph. ``extra``: heading -> layer -> HTML of one more cell."""
    extra = extra or {}
    stops = rows(graph)
    width = 1 + max(lane for row in stops for lane in (row.lane, *row.above, *row.below, *row.through))
    several = any(node.kernel.folding.pixels > 1 for node in graph)  # positions at a time, FINN's M
    heads = ["output", "weights", "PE", "SIMD", *(["M"] if several else []), "cycles", *extra]
    lines = []
    for row in stops:
        label = escape(printable(row.name))
        if row.node is None:
            stream = graph.edges[row.edge]
            cells = f'<td class="bf-name bf-port">{label}</td>'
            cells += _cell("output", f"{_shape(stream.shape)} {stream.dtype.name}")
            cells += f'<td colspan="{len(heads) - 1}"></td>'
            group = "end"
        else:
            node = graph.node(row.node)
            kernel = node.kernel
            out, fold = kernel.outputs()[0], kernel.folding
            group = str(kernel.role)
            cells = f'<td class="bf-name"><b>{label}</b> <span>{kernel.op.replace("_", " ")}</span>{_origin(node)}</td>'
            plumbing = group == "plumbing"
            values = [
                *(f"{_shape(out.shape)} {out.dtype.name}", weights(kernel)),
                *("" if plumbing else str(n) for n in (fold.pe, fold.simd, *([fold.pixels] if several else []))),
                *(f"{kernel.schedule().interval:,}", *(by_layer.get(row.node, "") for by_layer in extra.values())),
            ]
            cells += "".join(_cell(head, value) for head, value in zip(heads, values, strict=True))
        lines.append(f'<tr><td class="bf-rail">{rail(row, width, group)}</td>{cells}</tr>')
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    return (
        f'<table class="bf-graph" style="--rails:{LANE * width + 8}px">'
        f'<colgroup><col style="width:{LANE * width + 4}px"></colgroup>'
        f'<thead><tr><th></th><th class="bf-left">layer</th>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
    )


def _origin(node: DrawnNode) -> str:
    """The user's own name of a node in a line of its own; its title is the name of the model's node."""
    own, source = (escape(printable(name)) for name in (node.origin.name, node.origin.node))
    return f'<br><span class="bf-origin" title="{source}">{own}</span>' if own and own != node.name else ""


def _cell(head: str, value: str) -> str:
    return f'<td data-label="{escape(head)}">{value}</td>'


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
