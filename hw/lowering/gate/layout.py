"""The rules of operators that rearrange elements, and of those that only compute shapes."""

from collections import Counter
from math import prod

from onnx import AttributeProto, TensorProto

from hw.lowering import parts
from hw.lowering.gate.site import Rule, Shape, Site, Tensor

Outputs = list[tuple[Shape, int]]


def flatten(site: Site) -> Outputs:
    shape = site.shape()
    given = site.integer("axis", 1)
    axis = len(shape) if given == len(shape) else site.axis(given, len(shape))
    return [((prod(shape[:axis]), prod(shape[axis:])), site.input(0).elem_type)]


def reshape(site: Site) -> Outputs:
    shape = site.shape()
    sizes = site.ints("shape") if site.version < 5 else site.integers(1, "shape")
    if sizes is None:
        raise site.error("it lacks its shape")
    keep = not site.flag("allowzero")
    if any(size < -1 for size in sizes) or Counter(sizes)[-1] > 1:
        raise site.error(f"its shape {list(sizes)} has negative sizes", "give sizes, and -1 at most once")
    out = list(sizes)
    for axis, size in enumerate(out):
        if size == 0 and keep:
            if axis >= len(shape):
                raise site.error(f"its shape {list(sizes)} keeps an axis that its input {list(shape)} does not have")
            out[axis] = shape[axis]
    if -1 in out:
        known = prod(size for size in out if size != -1)
        if not known or prod(shape) % known:
            raise site.error(f"its shape {list(sizes)} does not fit its input {list(shape)}")
        out[out.index(-1)] = prod(shape) // known
    if prod(out) != prod(shape):
        raise site.error(f"its shape {list(sizes)} does not fit its input {list(shape)}")
    return [(tuple(out), site.input(0).elem_type)]


def squeeze(site: Site) -> Outputs:
    shape = site.shape()
    given = site.ints("axes") if site.version < 13 else site.integers(1, "axes")
    axes = tuple(i for i, size in enumerate(shape) if size == 1) if given is None else site.axes(given, len(shape))
    if any(shape[axis] != 1 for axis in axes):
        raise site.error(f"it removes the axes {list(axes)} of {list(shape)}, which are not all of size 1")
    return [(tuple(size for i, size in enumerate(shape) if i not in axes), site.input(0).elem_type)]


def unsqueeze(site: Site) -> Outputs:
    shape = site.shape()
    given = site.ints("axes") if site.version < 13 else site.integers(1, "axes")
    if given is None:
        raise site.error("it lacks its axes")
    axes = site.axes(given, len(shape) + len(given))
    sizes = iter(shape)
    out = tuple(1 if i in axes else next(sizes) for i in range(len(shape) + len(axes)))
    return [(out, site.input(0).elem_type)]


def transpose(site: Site) -> Outputs:
    shape = site.shape()
    perm = site.ints("perm")
    perm = tuple(reversed(range(len(shape)))) if perm is None else perm
    if sorted(perm) != list(range(len(shape))):
        raise site.error(f"its perm {list(perm)} is no permutation of the {len(shape)} axes of its input")
    return [(tuple(shape[axis] for axis in perm), site.input(0).elem_type)]


def concat(site: Site) -> Outputs:
    shapes = [site.shape(index) for index in range(len(site.inputs))]
    first = shapes[0]
    given = site.integer("axis", 0)
    axis = site.axis(given, len(first))
    for other in shapes[1:]:
        if len(other) != len(first) or any(
            a != b for i, (a, b) in enumerate(zip(first, other, strict=True)) if i != axis
        ):
            raise site.error(f"it joins {list(other)} to {list(first)} along axis {given}")
    out = (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])
    return [(out, site.input(0).elem_type)]


def sliced(site: Site) -> Outputs:
    """Slice: starts, ends, axes and steps are attributes before opset 10, without steps; inputs from then on."""
    shape = site.shape()
    if site.version < 10:
        starts, ends, axes, steps = site.ints("starts"), site.ints("ends"), site.ints("axes"), None
    else:
        starts, ends, axes, steps = (site.integers(i, name) for i, name in enumerate(SLICE, 1))
    if starts is None or ends is None:
        raise site.error("it lacks its starts or ends")
    axes = site.axes(tuple(range(len(starts))) if axes is None else axes, len(shape))
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise site.error(
            f"its starts {list(starts)}, ends {list(ends)}, axes {list(axes)} and steps {list(steps)} do not fit"
        )
    out = list(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        out[axis] = len(parts.sliced(shape[axis], start, end, step))
    return [(tuple(out), site.input(0).elem_type)]


SLICE = ("starts", "ends", "axes", "steps")


def split(site: Site) -> Outputs:
    """Split: the sizes of the parts are an attribute before opset 13, an input from then on; equal parts without."""
    shape, count = site.shape(), len(site.node.output)
    axis = site.axis(site.integer("axis", 0), len(shape))
    given = site.ints("split") if site.version < 13 else site.integers(1, "split")
    if site.version >= 18:
        number = site.integer("num_outputs", count)
        if number != count or (given is None and site.get("num_outputs", AttributeProto.INT) is None):
            raise site.error(f"it has {count} outputs, and its attribute num_outputs does not say so")
    try:
        sizes = parts.split_sizes(shape[axis], count, given, site.version >= 18)
    except ValueError as error:
        raise site.error(f"its axis {axis} has {error}") from None
    kind = site.input(0).elem_type
    return [((*shape[:axis], size, *shape[axis + 1 :]), kind) for size in sizes]


def _indices(site: Site) -> Tensor:
    """The indices at which elements of data, or computed ones at which entries of a constant table are taken."""
    indices = site.input(1)
    if site.input(0).data and indices.data:
        raise site.error(
            f"its input {site.node.input[1]} is computed while running",
            "take elements at constant indices, or entries of a constant table",
        )
    return indices


def gather(site: Site) -> Outputs:
    shape, indices = site.shape(), _indices(site)
    axis = site.axis(site.integer("axis", 0), len(shape))
    if indices.value is not None and indices.value.size:
        low, high = int(indices.value.min()), int(indices.value.max())
        if low < -shape[axis] or high >= shape[axis]:
            raise site.error(f"its indices from {low} to {high} are none of the {shape[axis]} elements of axis {axis}")
    return [((*shape[:axis], *indices.shape, *shape[axis + 1 :]), site.input(0).elem_type)]


def gather_nd(site: Site) -> Outputs:
    shape, indices = site.shape(), _indices(site)
    if site.integer("batch_dims", 0):
        raise site.error(f"it has batch_dims = {site.integer('batch_dims', 0)}", "use batch_dims = 0")
    count = indices.shape[-1] if indices.shape else 0
    if not 1 <= count <= len(shape):
        raise site.error(f"its indices {list(indices.shape)} do not fit its input {list(shape)}")
    if indices.value is not None and indices.value.size:
        ends = indices.value.reshape(-1, count)
        for axis, (low, high) in enumerate(zip(ends.min(axis=0).tolist(), ends.max(axis=0).tolist(), strict=True)):
            if low < -shape[axis] or high >= shape[axis]:
                raise site.error(
                    f"its indices from {low} to {high} are none of the {shape[axis]} elements of axis {axis}"
                )
    return [((*indices.shape[:-1], *shape[count:]), site.input(0).elem_type)]


def depth_to_space(site: Site) -> Outputs:
    shape, size = _image(site), site.integer("blocksize", 0)
    site.word("mode", "DCR", ("DCR", "CRD"))
    if size < 1 or shape[1] % size**2:
        raise site.error(f"its {shape[1]} channels are no blocks of {size} x {size}")
    out = shape[0], shape[1] // size**2, shape[2] * size, shape[3] * size
    return [(out, site.input(0).elem_type)]


def space_to_depth(site: Site) -> Outputs:
    shape, size = _image(site), site.integer("blocksize", 0)
    if size < 1 or shape[2] % size or shape[3] % size:
        raise site.error(f"its input {list(shape)} has no whole blocks of {size} x {size}")
    out = shape[0], shape[1] * size**2, shape[2] // size, shape[3] // size
    return [(out, site.input(0).elem_type)]


def _image(site: Site) -> Shape:
    shape = site.shape()
    if len(shape) != 4:
        raise site.error(f"its input of shape {list(shape)} is no image (N, C, H, W)")
    return shape


def tile(site: Site) -> Outputs:
    shape, repeats = site.shape(), site.integers(1, "repeats")
    if repeats is None or len(repeats) != len(shape) or min(repeats, default=0) < 0:
        raise site.error(f"its repeats {list(repeats or ())} do not fit its input {list(shape)}")
    return [(tuple(size * count for size, count in zip(shape, repeats, strict=True)), site.input(0).elem_type)]


def expand(site: Site) -> Outputs:
    sizes = site.integers(1, "shape")
    if sizes is None or min(sizes, default=0) < 0:
        raise site.error("it lacks its shape, or has negative sizes")
    return [(site.broadcast(site.shape(), sizes), site.input(0).elem_type)]


def shape_of(site: Site) -> Outputs:
    start, end = site.integer("start", 0), site.get("end", 2)
    count = len(range(*slice(start, end).indices(len(site.shape()))))
    return [((count,), TensorProto.INT64)]


RULES: dict[str, Rule] = {
    "Flatten": flatten,
    "Reshape": reshape,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Transpose": transpose,
    "Concat": concat,
    "DepthToSpace": depth_to_space,
    "Expand": expand,
    "Gather": gather,
    "GatherND": gather_nd,
    "Shape": shape_of,
    "Slice": sliced,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Tile": tile,
    "Size": lambda site: [((), TensorProto.INT64)],
}
