"""What a build states of its checks: the frames, and each engine against the one before it."""

from pydantic import Field

from flows.facts.fact import Facts


class Inputs(Facts):
    """What became of the values of the user's frames at the input ``name`` of ``type``.

    ``declared``: the input has an integer type, and ``fractions`` were rounded and ``out_of_range`` values clipped
    before anything computed with them. If not, the model quantizes them itself, and ``out_of_range`` are beyond the
    range of its quantizer. ``codes`` of ``possible_codes`` occur. ``doubtful``: the frames may not be what the model
    was trained on. ``statement`` says all this in a sentence.
    """

    name: str
    type: str
    declared: bool
    values: int
    fractions: int
    out_of_range: int
    codes: int
    possible_codes: int
    least: float
    greatest: float
    doubtful: bool
    statement: str


class Compared(Facts):
    """The counts of a comparison in which no error was found.

    ``mismatches`` are the elements (integers at quantizers, outputs) that differ, in ``mismatched_frames`` frames. All
    of them are ``explained``: one code apart, because float32 rounding of the reference can lead to either. They are
    at most 0.5 % of the ``elements``. ``arg_max_changes`` counts the frames whose class differs; ``rounded`` the
    floating-point outputs that differ from the reference by no more than its rounding, which are not mismatches.
    Exact sums ``decided`` the elements behind sums that float32 cannot hold; ``inexact`` counts those of them at which
    float32 itself differs. ``explanation`` says in a sentence what rounding explains, ``remark`` what exact sums
    decided; absent where there is nothing to say.
    """

    frames: int
    elements: int
    mismatches: int
    explained: int
    arg_max_changes: int
    mismatched_frames: int = 0
    rounded: int = 0
    decided: int = 0
    inexact: int = 0
    explanation: str | None = None
    remark: str | None = None


class DirectedCounts(Facts):
    """The counts of a comparison on inputs directed at what can be wrong, in which no error was found.

    ``frames`` of the whole network are directed at its inputs; ``layers`` are compared with the model's own nodes at
    ``inputs`` of their own (but for those ``left_out``). ``covered`` of the quantizers' ``decision_points`` are driven
    from both sides, and ``sums`` to their minimum and maximum. ``explained`` elements differ within float32 rounding.
    ``combinations`` of integers that meet in sums of unequal scales were checked, of which float32 rounds ``differing``
    ones otherwise.
    """

    frames: int
    layers: int
    inputs: int
    decision_points: int
    covered: int
    sums: int
    explained: int
    left_out: tuple[str, ...]
    combinations: int = 0
    differing: int = 0
    summary: str


class RemovalCounts(Facts):
    """The counts of the comparison of the graph without the ``channels`` that do nothing (of all edges) with the one
    that has them: ``frames``, and ``layers`` at ``inputs`` of their own. Nothing differs."""

    frames: int
    layers: int
    inputs: int
    channels: int
    summary: str


class Check(Compared):
    """What an engine was checked on. ``stage`` and ``path`` say which netlist was simulated; for the emulator,
    ``directed`` is what was compared besides the frames, ``removal`` the check of what was removed, and ``confusion``
    the number of frames by class (rows: labels; columns: what the network says). ``figures`` are those of a task other
    than classification (``quant.scores``)."""

    accuracy: float | None
    stage: str | None = None
    path: str | None = None
    directed: DirectedCounts | None = None
    removal: RemovalCounts | None = None
    confusion: tuple[tuple[int, ...], ...] | None = None
    figures: dict[str, float] = Field(default_factory=dict)
