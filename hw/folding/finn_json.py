"""Foldings as files in FINN's JSON form: layer -> {"PE": n, "SIMD": n}.

Layers have our names, or the user's: of the model's nodes, or of modules (``hw.folding.layer_names``). Files of FINN's
flow, with FINN's names, are read too (``hw.folding.finn_layers``). Files that are written here state both of a layer's
names.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hw.folding import finn_layers
from hw.folding.layer_names import LayerNames
from hw.host.errors import BitfabricError, UsageError
from hw.host.files import parse_json, read_text, write_json
from hw.ir.graph import Graph, Node
from hw.ir.kernel import LANES, SETTINGS, Folding, Kernel
from hw.kernels.concat.kernel import Concat
from hw.kernels.sliding_window.kernel import SlidingWindow
from hw.kernels.upsample.kernel import Upsample
from hw.passes.fold import FoldingTable, implementation

REMOVED = "Removed"
"""The entry of a folding file that states the granularity of the removal of channels. FINN warns of it and goes on."""
FINN_KEYS = frozenset({
    *LANES, "parallel_window", "ram_style", "ram_style_thresholds", "resType", "mem_mode", "mvau_wwidth_max",
    "runtime_writeable_weights", "inFIFODepths", "outFIFODepths", "depth_trigger_uram", "depth_trigger_bram",
    "preferred_impl_style", "impl_style",
})  # fmt: skip
"""The keys of a layer in FINN's folding files that a file with other names may have."""
_KEYS = f"{', '.join(LANES)}, implementation, {' and '.join(SETTINGS)}"
"""The keys of an entry with our name of a layer, in words."""
OWN_KEYS = frozenset({"implementation", *SETTINGS, "node", "module"})
"""Our own keys: the kernel that computes the layer with its settings (see Folding), and the user's names of it."""


@dataclass(frozen=True)
class FoldingFile:
    """The content of a folding file for a graph.

    Attributes:
        table: the folding, by layer; layers that are not in it keep their folding.
        name: the name of the file.
        settings: by layer, FINN's other settings, which have no effect here.
        defaults: those of ``Defaults``.
        unused: how often each of these settings, and those of entries without a layer, is stated.
        notes: sentences about entries without a layer.
    """

    table: FoldingTable
    name: str = ""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    unused: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences about what was not used."""
        if not self.unused:
            return self.notes
        counted = ", ".join(f"{key} ({count})" for key, count in sorted(self.unused.items()))
        return f"{self.name}: these settings of FINN's have no effect here: {counted}", *self.notes

    def without(self, used: Iterable[str]) -> "FoldingFile":
        """The same content without settings, each as often as it is listed, that a caller has used."""
        return replace(self, unused=dict(Counter(self.unused) - Counter(used)))


def save(table: FoldingTable, path: Path, graph: Graph, granularity: int = 0) -> None:
    """Write a folding of the layers of ``graph`` in FINN's JSON form, each with the names of its node and module.

    ``granularity``, unless it is 0: that of the removal of channels that ``graph`` is the result of.
    """
    layers = {name: {**folding.attributes, **graph.node(name).origin.names} for name, folding in table.items()}
    removed = {REMOVED: {"granularity": granularity}} if granularity else {}
    write_json(path, {"Defaults": {}, **removed, **layers})


def granularity_of(path: Path) -> int:
    """The granularity of the removal of channels that a folding file is for; 0: none is removed.

    Raises UsageError for a file that is missing or not JSON, and for a granularity that is none.
    """
    stated = _content(path).get(REMOVED, {"granularity": 0})
    granularity = stated.get("granularity")
    if not isinstance(granularity, int) or isinstance(granularity, bool) or granularity < 0:
        raise UsageError(f'{path}: "{REMOVED}" states a granularity, a whole number from 0 on, not {granularity!r}')
    return granularity


def read(path: Path, graph: Graph) -> FoldingFile:
    """Read a folding file for ``graph``, from which the channels are removed that the file says are.

    "M" is the number of image positions that are processed at a time, as in FINN's ConvolutionInputGenerator; its
    default is 1. "implementation" names the kernel that computes the layer; "adders_per_stage" and "table_inputs" are
    the settings of one in logic. "Defaults" hold FINN's lists of values and operators, {"PE": [2, ["MVAU"]]}, or
    {"PE": [2, ["all"]]} for all layers to which they are legal. Where FINN's entries leave layers out, these get the
    fewest lanes that keep up with the others.

    Raises UsageError for a file that is missing or not JSON, for unknown or ambiguous layers, unknown keys, and, of
    FINN's entries, for those that do not fit their layer.
    """
    content = _content(path)
    content.pop(REMOVED, None)
    return _Reader(path, graph, content).file()


def _content(path: Path) -> dict[str, dict[str, Any]]:
    try:
        content = parse_json(read_text(path, kind="folding file"))
    except ValueError as error:
        raise UsageError(f"{path} cannot be read as a folding file: {error}") from None
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        raise UsageError(f'{path}: a folding file is {{"layer": {{"PE": n, "SIMD": n}}, ...}}')
    return content


class _Reader:
    def __init__(self, path: Path, graph: Graph, content: dict[str, dict[str, Any]]) -> None:
        self.path, self.graph = path, graph
        self.defaults = content.pop("Defaults", {})
        self.content = content
        self.names = LayerNames(graph)
        self.table: FoldingTable = {}
        self.settings: dict[str, dict[str, Any]] = {}
        self.unused: Counter[str] = Counter()
        self.entries: dict[str, str] = {}
        """Layer -> the entry that means it."""

    def file(self) -> FoldingFile:
        of_finn = [name for name in self.content if not self.names.known(name) and finn_layers.entry_of(name)]
        matched = finn_layers.match(self.graph, {name: self.content[name] for name in of_finn}, self.path, self._fits)
        for name, entry in self.content.items():
            if name in matched.layers:
                self._finn(name, matched.layers[name], entry)
            elif name in matched.others:
                self._leave(None, entry)
            else:
                self._own(name, entry)
        self._defaults()
        if matched.layers:
            self._follow({each.operator for each in map(finn_layers.entry_of, of_finn) if each is not None})
        defaults = {key: value for key, value in self.defaults.items() if key not in LANES}
        notes = tuple(self._notes(matched))
        return FoldingFile(self.table, self.path.name, self.settings, defaults, dict(self.unused), notes)

    def _own(self, name: str, entry: dict[str, Any]) -> None:
        """An entry with our name of a layer, or a name of the user's."""
        of_finn = finn_layers.entry_of(name) is not None  # A graph of FINN's has layers of FINN's names.
        if not of_finn and (unknown := sorted(set(entry) - FINN_KEYS - OWN_KEYS)):
            raise UsageError(f"{self.path}: layer {name}: unknown key {', '.join(unknown)}; use {_KEYS}")
        module = entry.get("module")
        try:
            node = self.names.find(name, module if isinstance(module, str) else None)
        except UsageError as error:
            raise UsageError(f"{self.path}: {error}") from None
        for key, own in vars(node.origin).items():
            if key in entry and entry[key] != own:
                raise UsageError(
                    f"{self.path}: layer {name} is of the {key} {entry[key]}, but that of this model is {node.title}; "
                    f"leave the key {key} out if the entry is meant for it"
                )
        self._enter(name, node, entry, of_finn)

    def _finn(self, name: str, node: Node, entry: dict[str, Any]) -> None:
        """An entry with FINN's name. Raises UsageError where it does not fit the layer."""
        self._enter(name, node, entry, True)
        if node.name in self.table:
            try:
                node.kernel.fold(self.table[node.name])
            except BitfabricError as error:
                raise UsageError(f"{self.path}: {name} is layer {node.title}: {error}") from None

    def _fits(self, name: str, node: Node) -> bool:
        """Whether a layer can have the folding of an entry."""
        try:
            node.kernel.fold(self._folding(f"{self.path}: {name}", node, self.content[name], True))
        except BitfabricError:
            return False
        return True

    def _enter(self, name: str, node: Node, entry: dict[str, Any], of_finn: bool) -> None:
        if node.name in self.entries:
            raise UsageError(
                f"{self.path}: layer {node.title} is given twice, as {self.entries[node.name]} and as {name}; leave "
                "one out"
            )
        self.entries[node.name] = name
        self._leave(node, entry)
        defaults = self._defaults_of(node, listed=True)
        if not of_finn or {*entry, *defaults}.intersection(LANES):
            where = f"{self.path}: layer {name}" if name == node.name else f"{self.path}: {name}, layer {node.title}"
            self.table[node.name] = self._folding(where, node, defaults | entry, of_finn)
            self._fold_inside(node)

    def _fold_inside(self, node: Node) -> None:
        """Give the quantizer inside a layer of FINN's, in a graph of FINN's, the layer's PE."""
        for part in self.graph:
            inside = part.kernel.role == "quantize" and part.name != part.origin.node == node.name
            if inside and part.name not in self.content:
                self.table[part.name] = Folding(self.table[node.name].pe)

    def _folding(self, where: str, node: Node, given: Mapping[str, Any], of_finn: bool) -> Folding:
        """The folding of a layer by ``given`` attributes; those that are missing are the present ones."""
        named = given.get("implementation", "")
        if not isinstance(named, str):
            raise UsageError(f"{where}: implementation must be a name, not {named!r}")
        now = next((each for each in node.kernel.implementations() if each.op == named), node.kernel).folding
        values: dict[str, Any] = {"PE": now.pe, "SIMD": now.simd, "M": now.pixels, **given}
        for key in (*LANES, *(name for name in SETTINGS if name in values)):
            if not isinstance(values[key], int) or isinstance(values[key], bool) or values[key] < 1:
                raise UsageError(f"{where}: {key} must be a positive integer, not {values[key]!r}")
        if of_finn and isinstance(node.kernel, Concat | Upsample) and "PE" not in given:
            values |= {"PE": values["SIMD"], "SIMD": 1}  # FINN calls the lanes of these SIMD.
        if isinstance(node.kernel, SlidingWindow) and given.get("parallel_window"):
            if values["SIMD"] != node.kernel.channels:
                raise UsageError(
                    f"{where}: it gives whole windows of {values['SIMD']} of {node.kernel.channels} channels at a "
                    f"time; set its SIMD to {node.kernel.channels}, or parallel_window to 0"
                )
            values["SIMD"] = node.kernel.window
        return Folding.of(values)

    def _leave(self, node: Node | None, entry: Mapping[str, Any]) -> None:
        """Count the settings of an entry that mean nothing here, and keep those of a layer."""
        used = {*LANES, *OWN_KEYS} if node is not None else set()
        if node is not None and isinstance(node.kernel, SlidingWindow):
            used.add("parallel_window")
        rest = {key: value for key, value in entry.items() if key not in used}
        self.unused.update(rest.keys())
        if node is not None and rest:
            self.settings[node.name] = rest

    # --- defaults ---

    def _defaults_of(self, node: Node, listed: bool) -> dict[str, Any]:
        """The defaults of PE, SIMD and M for a layer; those for all layers where it is listed, or they are legal."""
        own = {*finn_layers.operators_of(node.kernel), node.kernel.op}
        found: dict[str, Any] = {}
        for key in LANES:
            for value, operators in self._pairs(key):
                everywhere = "all" in operators and (listed or self._legal(node.kernel, {key: value}))
                if everywhere or own.intersection(map(_plain, operators)):
                    found[key] = value
        return found

    def _pairs(self, key: str) -> list[tuple[Any, tuple[str, ...]]]:
        """FINN's form of a default is [value, operators, value, operators, ...]; operators: "all", or a list."""
        given = self.defaults.get(key)
        if given is None:
            return []
        if not isinstance(given, list):
            return [(given, ("all",))]
        if not given or len(given) % 2:
            raise UsageError(f'{self.path}: the default of {key} is a list of values and operators, [2, ["MVAU"]]')
        lists = [[each] if isinstance(each, str) else each for each in given[1::2]]
        if not all(isinstance(each, list) and all(isinstance(op, str) for op in each) for each in lists):
            raise UsageError(f'{self.path}: the default of {key} is for operators by name, [2, ["MVAU"]]')
        return [(value, tuple(operators)) for value, operators in zip(given[::2], lists, strict=True)]

    def _defaults(self) -> None:
        """Apply the defaults to the layers that are not listed, and count those without a meaning."""
        self.unused.update(f"{key} of Defaults" for key in self.defaults if key not in LANES)
        for node in self.graph:
            if node.name in self.entries or len(node.kernel.foldings()) < 2:
                continue
            if defaults := self._defaults_of(node, listed=False):
                folding = self._folding(f"{self.path}: Defaults for layer {node.title}", node, defaults, True)
                try:
                    node.kernel.fold(folding)
                except BitfabricError as error:
                    raise UsageError(f"{self.path}: Defaults for layer {node.title}: {error}") from None
                self.table[node.name] = folding

    @staticmethod
    def _legal(kernel: Kernel, values: Mapping[str, Any]) -> bool:
        now = kernel.folding
        given = {"PE": now.pe, "SIMD": now.simd, "M": now.pixels, **values}
        return any(
            (each.pe, each.simd, each.pixels) == (given["PE"], given["SIMD"], given["M"]) for each in kernel.foldings()
        )

    # --- what FINN does not list ---

    def _folded(self, name: str, kernel: Kernel) -> Kernel:
        folding = self.table.get(name, kernel.folding)
        return implementation(kernel, folding.implementation).fold(folding)

    def _follow(self, listed: set[str]) -> None:
        """Fold the layers that FINN's graph has no entries for so that they keep up with the slowest of the others.

        These are the quantizers inside FINN's layers, and all layers of operators that are not ``listed``.
        """
        kernels = {node.name: node.kernel for node in self.graph}
        followers = [
            name
            for name, kernel in kernels.items()
            if name not in self.table
            and (kernel.role == "quantize" or not listed & {*finn_layers.operators_of(kernel)})
        ]
        slowest = max(self._folded(name, kernel).interval for name, kernel in kernels.items() if name not in followers)
        for name in followers:
            kernel = kernels[name]
            foldings = [each for each in kernel.foldings() if each.pixels == 1]
            intervals = {each: kernel.fold(each).interval for each in foldings}
            if len(foldings) > 1:
                fast = [each for each in foldings if intervals[each] <= slowest]
                self.table[name] = fast[0] if fast else min(foldings, key=lambda each: intervals[each])

    # --- what was not used ---

    def _notes(self, matched: finn_layers.Matched) -> Iterator[str]:
        yield from matched.doubts
        reasons: dict[str, list[str]] = {}
        for name, why in matched.others.items():
            reasons.setdefault(why, []).append(name)
        for why, names in reasons.items():
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            yield f"{self.path.name}: {', '.join(names[:3])}{more}: {why}"


def _plain(operator: str) -> str:
    """An operator of FINN's without its style."""
    return operator.removesuffix("_hls").removesuffix("_rtl")
