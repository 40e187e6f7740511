"""The results of comparisons of two engines that found no error."""

from dataclasses import dataclass

MAX_EXPLAINED = 0.005
"""The largest share of elements that may differ from a float32 reference by its rounding."""


@dataclass(frozen=True)
class Agreement:
    """Counts of a comparison. ``mismatches`` includes the ``explained`` ones, which are all of them.

    - ``frames``, ``elements``: what was compared;
    - ``mismatches``: elements that differ; ``mismatched_frames``: the frames that they are in;
    - ``explained``: mismatches of one code that float32 rounding of the reference explains;
    - ``arg_max_changes``: frames whose class differs;
    - ``rounded``: floating-point outputs that differ from the reference by no more than its rounding;
    - ``decided``: elements behind sums that float32 cannot hold, which equal those of the reference with exact sums;
    - ``inexact``: those of them at which the float32 reference itself differs from the exact value.
    """

    frames: int
    elements: int
    mismatches: int = 0
    explained: int = 0
    arg_max_changes: int = 0
    mismatched_frames: int = 0
    rounded: int = 0
    decided: int = 0
    inexact: int = 0

    @property
    def remark(self) -> str | None:
        """What exact sums decided, in one line; None where float32 holds all sums."""
        if not self.decided:
            return None
        return (
            f"exact sums decide {self.decided:,} elements, behind sums that can pass 2^24; float32 itself differs from "
            f"them in {self.inexact:,}"
        )

    @property
    def explanation(self) -> str | None:
        """What rounding explains, in one line; None where no element and no class differs."""
        if self.mismatches:
            changes = _classes(self.arg_max_changes)
            return f"{self.differences}; {changes}"
        if not self.arg_max_changes:
            return None
        return (
            f"{self.frames:,} frames: no element differs, but float32 rounding of the outputs "
            f"{_classes(self.arg_max_changes)}"
        )

    @property
    def differences(self) -> str | None:
        """The same of outputs that are no scores of classes; None where no element differs."""
        if not self.mismatches:
            return None
        one = self.mismatches == 1
        elements = f"{self.mismatches:,} element{'' if one else 's'} within float32 rounding of"
        thresholds = "its threshold" if one else "their thresholds"
        return f"{self.mismatched_frames:,} of {self.frames:,} frames: {elements} {thresholds}"


def _classes(changes: int) -> str:
    """What happens to the frames' classes."""
    return f"changes the class of {changes:,} frame{'' if changes == 1 else 's'}" if changes else "class unchanged"


@dataclass(frozen=True)
class Directed:
    """Counts of a comparison on inputs that are directed at what can be wrong.

    - ``frames``: frames of the whole network, directed at its inputs (``hw.verification.directed``);
    - ``layers``: those compared with the model's own nodes at ``inputs`` of their own (``hw.verification.layers``);
      ``left_out``: the layers without a tensor of the model to start from;
    - ``decision_points``: those of all quantizers, by channel; ``covered`` are driven from both sides;
    - ``sums``: the sums driven to their minimum and their maximum;
    - ``explained``: elements that differ, but within float32 rounding. These inputs lie at decision points, so that a
      reference in float32 may well decide otherwise there; they are not mismatches of the frames;
    - ``combinations``: those of the integers that meet in sums of unequal scales, all of which the lowering has checked
      (``hw.lowering.coefficients``); ``differing``: those at which float32 rounds equal sums to different codes.
    """

    frames: int
    layers: int
    inputs: int
    decision_points: int
    covered: int
    sums: int
    explained: int
    left_out: tuple[str, ...] = ()
    combinations: int = 0
    differing: int = 0

    @property
    def summary(self) -> str:
        """What was compared, in one line."""
        points = f"{self.covered:,} of {self.decision_points:,} decision points from both sides"
        layers = f"{self.layers:,} layers at {self.inputs:,} inputs of their own ({points})"
        rounded = f"; {self.explained:,} elements within float32 rounding of a threshold" if self.explained else ""
        joined = f"; {self.combinations:,} combinations of unequal scales" if self.combinations else ""
        joined += f", {self.differing:,} of them rounded otherwise by float32" if self.differing else ""
        missing = f"; not alone: {', '.join(self.left_out)}" if self.left_out else ""
        return f"{layers}, {self.frames:,} directed frames{rounded}{joined}{missing}"
