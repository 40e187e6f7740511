"""The rules of operators that rearrange elements, and of those that only compute shapes."""

from collections import Counter
from math import prod

from onnx import TensorProto

from hw.lowering.gate.site import Rule, Shape, Site

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
    "Shape": shape_of,
    "Size": lambda site: [((), TensorProto.INT64)],
}
