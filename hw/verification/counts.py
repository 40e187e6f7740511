"""The counts of a comparison with the reference, and the limits within which they are no error."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hw.host.errors import BitfabricError
from hw.verification.agreement import MAX_EXPLAINED, Agreement
from hw.verification.difference import same


@dataclass
class LayerCounts:
    """Elements compared at one edge or output, those that differ, and those of them that rounding explains (``apart``:
    that it would explain, but that are too far apart)."""

    elements: int = 0
    mismatches: int = 0
    explained: int = 0
    apart: int = 0


@dataclass
class Comparison:
    """The differences between an integer graph and the reference.

    - ``frames``: the number of frames compared; ``mismatched_frames``: those with a mismatch;
    - ``layers``: counts by edge or output. A layer is fed the reference's own inputs, and an element is a mismatch if
      its code differs from the reference's. A floating-point output is one if it differs by more than rounding. Float32
      rounding can also lead to codes more than one apart, behind several quantizers in one kernel, and to codes that
      exact arithmetic never reaches. Such elements are ``apart``: not explained, and the last compared of their frame;
    - ``rounded``: the floating-point outputs that differ, but by no more than rounding; they are not mismatches;
    - ``decided``: the elements behind sums that float32 cannot hold, where the reference with exact sums decides (they
      are mismatches if they differ from it); ``inexact``: those at which the float32 reference itself is wrong;
    - ``arg_max_changes``: the frames whose class differs between the whole graph and the reference;
    - ``first_unexplained``, ``first_explained``: where the first mismatches of both kinds are, in words;
    - ``titles``: by layer, its name with the user's own, for the words;
    - ``reference``: what executed the model, in words.
    """

    frames: int = 0
    mismatched_frames: int = 0
    rounded: int = 0
    decided: int = 0
    inexact: int = 0
    arg_max_changes: int = 0
    layers: dict[str, LayerCounts] = field(default_factory=dict)
    first_unexplained: str | None = None
    first_explained: str | None = None
    titles: Mapping[str, str] = field(default_factory=dict)
    reference: str = "the QONNX reference"

    @property
    def elements(self) -> int:
        """The elements compared, at quantizers and outputs."""
        return sum(each.elements for each in self.layers.values())

    @property
    def mismatches(self) -> int:
        """The elements that differ, including the explained ones."""
        return sum(each.mismatches for each in self.layers.values())

    @property
    def explained(self) -> int:
        """The mismatches that float32 rounding explains: one code apart, and so close to a decision point."""
        return sum(each.explained for each in self.layers.values())

    @property
    def apart(self) -> int:
        """The mismatches to which rounding can lead, but too far apart to be explained."""
        return sum(each.apart for each in self.layers.values())

    def add(
        self,
        layer: str,
        got: np.ndarray,
        want: np.ndarray,
        differs: np.ndarray,
        explained: np.ndarray,
        start: int = 0,
        apart: np.ndarray | None = None,
    ) -> None:
        """Count the elements of one layer: boolean arrays of those that differ, and of those that rounding explains, or
        would if they were not too far ``apart``.

        ``got`` and ``want`` are the values; the first one is frame number ``start``.
        """
        counts = self.layers.setdefault(layer, LayerCounts())
        counts.elements += differs.size
        counts.mismatches += int(differs.sum())
        counts.explained += int((differs & explained).sum())
        counts.apart += 0 if apart is None else int((differs & apart).sum())
        if self.first_unexplained is None:
            self.first_unexplained = _first(self._title(layer), got, want, differs & ~explained, start)
        if self.first_explained is None:
            self.first_explained = _first(self._title(layer), got, want, differs & explained, start)

    def _title(self, layer: str) -> str:
        return self.titles.get(layer, layer)

    def add_whole(self, output: str, got: np.ndarray, want: np.ndarray, start: int) -> None:
        """Count the elements of an output of the whole graph that differ; no rounding explains them."""
        differs = ~same(got, want)
        counts = self.layers.setdefault(output, LayerCounts())
        counts.mismatches += int(differs.sum())
        if self.first_unexplained is None:
            self.first_unexplained = _first(f"{output} of the whole graph", got, want, differs, start)

    def add_classes(self, got: np.ndarray, expected: np.ndarray) -> None:
        """Count the frames whose class differs: the index of the largest element, or the output if it is an index."""
        flat = [output.reshape(len(output), -1) for output in (got, expected)]
        classes = [output.argmax(axis=1) if output.dtype.kind == "f" else output[:, 0] for output in flat]
        self.arg_max_changes += int(np.sum(classes[0] != classes[1]))

    def describe(self) -> str:
        """The comparison in one line of text."""
        if not self.mismatches:
            return f"{self.frames} frames, no element differs from the reference"
        where = ", ".join(
            f"{self._title(name)}: {each.mismatches} ({each.explained} explained)"
            for name, each in self.layers.items()
            if each.mismatches
        )
        return (
            f"{self.frames} frames, {self.mismatches} elements differ from the reference, {self.explained} of them "
            f"within float32 rounding of a decision point, {self.apart} more than one code from it ({where}); arg-max "
            f"changes in {self.arg_max_changes} frames"
        )

    def agreement(self) -> Agreement:
        """The counts, if the graph agrees with the reference.

        Raises BitfabricError, with layer, frame and element, for a mismatch that rounding does not explain, and if
        more than MAX_EXPLAINED of the elements are mismatches.
        """
        if unexplained := self.mismatches - self.explained:
            apart = f", {self.apart:,} of them by more codes than rounding may explain" if self.apart else ""
            raise BitfabricError(
                f"the emulator differs from {self.reference} in {self.first_unexplained} "
                f"({unexplained:,} of {self.elements:,} elements differ by more than float32 rounding{apart})"
            )
        if self.mismatches > MAX_EXPLAINED * self.elements:
            raise BitfabricError(
                f"the emulator differs from {self.reference} in {self.mismatches:,} of {self.elements:,} elements, "
                f"more than the {MAX_EXPLAINED:.1%} that float32 rounding may explain, first in {self.first_explained};"
                " use scales that are powers of two, or compare on other frames"
            )
        return Agreement(
            frames=self.frames,
            elements=self.elements,
            mismatches=self.mismatches,
            explained=self.explained,
            arg_max_changes=self.arg_max_changes,
            mismatched_frames=self.mismatched_frames,
            rounded=self.rounded,
            decided=self.decided,
            inexact=self.inexact,
        )


def _first(layer: str, got: np.ndarray, want: np.ndarray, where: np.ndarray, start: int) -> str | None:
    """The first of the elements that ``where`` marks, in words; None if there is none."""
    if not where.any():
        return None
    at = np.unravel_index(int(np.argmax(where)), where.shape)
    element = "".join(f"[{i}]" for i in at[1:])
    return f"layer {layer}, frame {start + at[0]}, element {element}: {got[at]} instead of {want[at]}"
