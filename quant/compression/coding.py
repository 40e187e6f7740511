"""Serialization of a compressed network to bytes (``encode``) and back (``decode``)."""

import copy
import json
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from quant.compression import huffman
from quant.compression.forms import Codewords, Grid, Pruned, Shared, Tied
from quant.compression.weights import (
    Layer,
    compression_of,
    describe,
    for_layer,
    grid_of,
    is_quantized,
    latent_of,
    prepare,
    weight_of,
)
from quant.errors import QuantError
from quant.models.network import load_parameters

MAGIC = b"bfc1"
OFFSET_BITS: Mapping[str, int] = {"conv": 8, "linear": 4}


@dataclass
class EncodedLayer:
    """The encoded parts of a compressed layer, each a whole number of bytes.

    - ``codebook``: the centroids or codewords; for a layer that is only pruned, the weights themselves.
    - ``tables``: the Huffman codes, one for each stream.
    - ``coded``: the Huffman-coded streams: the indices and, for a pruned layer, the gaps between weights.
    - ``index_bits``, ``offset_bits``: the sizes of the indices and gaps in bits, if coded with a fixed length.
    """

    spec: dict[str, Any]
    codebook: bytes = b""
    tables: list[bytes] = field(default_factory=list)
    coded: list[bytes] = field(default_factory=list)
    index_bits: int = 0
    offset_bits: int = 0

    def add_stream(self, symbols: np.ndarray, alphabet: int) -> None:
        table, data = huffman.encode(symbols, alphabet)
        self.tables.append(table)
        self.coded.append(data)

    @property
    def pieces(self) -> list[bytes]:
        return [self.codebook, *self.tables, *self.coded]


@dataclass
class Encoded:
    """A network's encoded layers by name (``layers``) and all other tensors of its state dict (``rest``)."""

    layers: dict[str, EncodedLayer]
    rest: dict[str, torch.Tensor]

    def to_bytes(self) -> bytes:
        header = {
            "layers": {name: {**e.spec, "sizes": [len(p) for p in e.pieces]} for name, e in self.layers.items()},
            "rest": [[key, str(t.dtype).removeprefix("torch."), list(t.shape)] for key, t in self.rest.items()],
        }
        packed = zlib.compress(json.dumps(header, separators=(",", ":")).encode(), 9)
        body = [piece for e in self.layers.values() for piece in e.pieces]
        body += [t.detach().cpu().contiguous().numpy().tobytes() for t in self.rest.values()]
        return b"".join([MAGIC, struct.pack("<I", len(packed)), packed, *body])


def encode(model: torch.nn.Module, offset_bits: int | Mapping[str, int] = OFFSET_BITS) -> bytes:
    """Encodes the network's state as bytes, compressed layers in compact form. ``decode`` restores it exactly.

    Indices of centroids and codewords are Huffman coded, with one code per layer. For a pruned layer the remaining
    weights are stored together with the number of zeros before each of them. This gap has ``offset_bits`` bits (1 to
    16; a number, or by layer) before Huffman coding. A longer gap is split: ``2**offset_bits - 1`` zeros are followed
    by a zero that is stored like a weight. If a layer is on an integer grid (quantized layers, ``snap``), its codebook
    holds integers; otherwise it holds 32-bit floats. Uncompressed layers, biases, BatchNorm and activation scales are
    stored unchanged. Of weights that a structure ties (``tie``) the values are stored.

    Han, Mao, Dally, "Deep compression", ICLR 2016; the gaps are counted as in the authors' released AlexNet, with 4
    bits.

    Raises QuantError (status 2) for ``offset_bits`` out of range.
    """
    return encode_layers(model, offset_bits).to_bytes()


@torch.no_grad()
def encode_layers(model: torch.nn.Module, offset_bits: int | Mapping[str, int] = OFFSET_BITS) -> Encoded:
    """Encodes each layer as ``encode`` does, without joining the results into one byte string."""
    layers = {}
    rest = dict(model.state_dict())
    modules = dict(model.named_modules())
    plan = describe(model)
    for name, spec in plan.items():
        layer = modules[name]
        bits = for_layer(offset_bits, "offset_bits", name, layer)
        if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= 16:
            raise QuantError(f"offset_bits={bits!r} of layer {name} is no whole number from 1 to 16", status=2)
        grid = grid_of(layer) if _has_integer_codebook(plan, spec.get("with", name)) else None
        layers[name] = _encode_layer(layer, {**spec, "offset_bits": bits}, grid)
        for key in _covered(model, name):
            rest.pop(key, None)
    return Encoded(layers, rest)


def _has_integer_codebook(plan: Mapping[str, Mapping[str, Any]], owner: str) -> bool:
    """Whether all layers with the codebook of ``owner`` have one grid with one scale: centroids are then integers."""
    grids = [spec.get("grid") for name, spec in plan.items() if owner in (name, spec.get("with"))]
    return grids[0] is not None and not isinstance(grids[0]["scale"], list) and all(g == grids[0] for g in grids)


def _covered(model: torch.nn.Module, name: str) -> list[str]:
    """Returns the state-dict names of a compressed layer's tensors, which its encoded parts replace."""
    layer = model.get_submodule(name)
    start = f"{name}." if name else ""
    if not is_quantized(layer):
        return [key for key in model.state_dict() if key.startswith(f"{start}parametrizations.weight.")]
    # The state of the layer's own quantizer is not covered: it is stored with the other tensors.
    inside = f"{start}weight_quant.tensor_quant.form."
    return [key for key in model.state_dict() if key.startswith(inside) or key == f"{start}weight"]


def _encode_layer(layer: Layer, spec: dict[str, Any], grid: Grid | None) -> EncodedLayer:
    form = compression_of(layer)
    encoded = EncodedLayer(spec)
    if isinstance(form, Codewords):
        table = form.codebooks.detach().cpu()
        # With several stages the sum of codewords is on the grid; the codewords themselves are not.
        encoded.codebook = _codebook(table, grid if len(table) == 1 else None)
        _add_indices(encoded, form.index.cpu().numpy().ravel(), table.shape[2])
        return encoded
    if isinstance(form, Shared):
        centroids, index = form.values.detach().cpu(), form.index.cpu().numpy().ravel()
        size = len(centroids)
        if grid is None:
            codebook = _floats(centroids)
        else:
            codes, where = np.unique(_codes(centroids, grid), return_inverse=True)
            index = np.append(where, len(codes))[index]
            codebook, size = _integers(codes, grid), len(codes)
        spec["clusters"] = size
        encoded.codebook = b"" if "with" in spec else codebook
        kept = index < size
        spec["sparse"] = not kept.all()
        if spec["sparse"]:
            entries = _add_offsets(encoded, kept)
            index = np.where(entries >= 0, index[entries], size)
        _add_indices(encoded, index, size + 1 if spec["sparse"] else size)
        return encoded
    if isinstance(form, Tied):  # the structure says where the values are
        encoded.codebook = _floats(form.values.detach().cpu())
        return encoded
    assert isinstance(form, Pruned)
    values = latent_of(layer).detach().cpu().flatten()
    entries = _add_offsets(encoded, form.mask.cpu().numpy().ravel())
    encoded.codebook = _floats(torch.where(torch.from_numpy(entries) >= 0, values[entries], 0.0))
    return encoded


def _add_indices(encoded: EncodedLayer, index: np.ndarray, alphabet: int) -> None:
    encoded.spec["entries"] = len(index)
    encoded.index_bits = len(index) * math.ceil(math.log2(alphabet)) if alphabet > 1 else 0
    encoded.add_stream(index, alphabet)


def _add_offsets(encoded: EncodedLayer, kept: np.ndarray) -> np.ndarray:
    """Encodes the gaps before the kept weights.

    Returns the position of each stored entry in the flat weight, -1 for a zero that splits a long gap.
    """
    reach = 1 << encoded.spec["offset_bits"]
    places = np.flatnonzero(kept)
    gaps = np.diff(places, prepend=-1) - 1
    fillers = gaps // reach
    entries = np.full(len(places) + int(fillers.sum()), -1, dtype=np.int64)
    ends = np.cumsum(fillers + 1) - 1
    entries[ends] = places
    offsets = np.full(len(entries), reach - 1, dtype=np.int64)
    offsets[ends] = gaps % reach
    encoded.spec["entries"] = len(entries)
    encoded.offset_bits = len(entries) * encoded.spec["offset_bits"]
    encoded.add_stream(offsets, reach)
    return entries


def _floats(tensor: torch.Tensor) -> bytes:
    return tensor.float().numpy().astype("<f4").tobytes()


def _codebook(tensor: torch.Tensor, grid: Grid | None) -> bytes:
    return _floats(tensor) if grid is None else _integers(_codes(tensor, grid), grid)


def _codes(tensor: torch.Tensor, grid: Grid) -> np.ndarray:
    scale = grid.scale.cpu()
    return torch.round(Grid(**grid.spec())(tensor)[0] / scale).numpy().astype(np.int64)


def _integers(codes: np.ndarray, grid: Grid) -> bytes:
    return huffman.pack(codes + (1 << (grid.width - 1)), grid.width)


@torch.no_grad()
def decode(data: bytes, model: torch.nn.Module) -> torch.nn.Module:
    """Returns a copy of ``model`` with the compressed layers and the state that ``encode`` stored in ``data``.

    ``model`` is an uncompressed network of the same architecture as the encoded one, for example a newly created one.
    Raises QuantError for damaged data and for a different architecture.
    """
    copied = copy.deepcopy(model)
    try:
        _decode(data, copied)
    except QuantError:
        raise
    except Exception as error:  # damaged data can raise any type
        raise QuantError(
            f"these bytes are no compressed state of this network: {str(error).splitlines()[0]}"
        ) from error
    return copied


def _decode(data: bytes, model: torch.nn.Module) -> None:
    if data[:4] != MAGIC:
        raise QuantError("these bytes are no compressed network: give what encode returned", status=2)
    (length,) = struct.unpack_from("<I", data, 4)
    header = json.loads(zlib.decompress(data[8 : 8 + length]))
    at = 8 + length
    prepare(model, header["layers"])
    for name, spec in header["layers"].items():
        pieces = []
        for size in spec["sizes"]:
            pieces.append(data[at : at + size])
            at += size
        _decode_layer(model.get_submodule(name), spec, pieces)
    state = {key: value for name in header["layers"] for key, value in _state(model, name).items()}
    for key, kind, shape in header["rest"]:
        empty = torch.empty(shape, dtype=getattr(torch, kind))
        count = empty.numel() * empty.element_size()
        array = np.frombuffer(data[at : at + count], dtype=empty.numpy().dtype).reshape(shape).copy()
        state[key] = torch.from_numpy(array)
        at += count
    load_parameters(model, state)


def _state(model: torch.nn.Module, name: str) -> dict[str, torch.Tensor]:
    state = model.state_dict()
    return {key: state[key] for key in _covered(model, name)}


def _decode_layer(layer: Layer, spec: dict[str, Any], pieces: list[bytes]) -> None:
    form, latent = compression_of(layer), latent_of(layer)
    codebook, streams = pieces[0], len(pieces) // 2
    tables, coded = pieces[1 : 1 + streams], pieces[1 + streams :]
    if isinstance(form, Tied) and not isinstance(form, Shared):
        form.values.copy_(torch.from_numpy(np.frombuffer(codebook, dtype="<f4").copy()))
        latent.copy_(form(latent))
        return
    entries, count = spec["entries"], latent.numel()

    def read(stream: int, alphabet: int) -> np.ndarray:
        return huffman.decode(tables[stream], coded[stream], alphabet, entries)

    if isinstance(form, Codewords):
        form.codebooks.copy_(_read_codebook(codebook, form.codebooks.numel(), spec).view(form.codebooks.shape))
        form.index.copy_(torch.from_numpy(read(0, form.codebooks.shape[2])).view(form.index.shape))
    elif isinstance(form, Shared):
        size = spec["clusters"]
        if "with" not in spec:
            form.values.copy_(_read_codebook(codebook, size, spec))
        index = np.full(count, size, dtype=np.int64)
        if spec["sparse"]:
            index[np.cumsum(read(0, 1 << spec["offset_bits"]) + 1) - 1] = read(1, size + 1)
        else:
            index = read(0, size)
        form.index.copy_(torch.from_numpy(index).view(form.index.shape))
    else:
        assert isinstance(form, Pruned)
        places = np.cumsum(read(0, 1 << spec["offset_bits"]) + 1) - 1
        values = np.zeros(count, dtype=np.float32)
        values[places] = np.frombuffer(codebook, dtype="<f4")
        mask = np.zeros(count, dtype=bool)
        mask[places] = True
        latent.copy_(torch.from_numpy(values).view(latent.shape))
        form.mask.copy_(torch.from_numpy(mask).view(latent.shape))
        return
    latent.copy_(weight_of(layer))


def _read_codebook(data: bytes, count: int, spec: dict[str, Any]) -> torch.Tensor:
    grid = spec.get("grid")
    if grid is None or len(data) == 4 * count:
        return torch.from_numpy(np.frombuffer(data, dtype="<f4").copy())
    codes = huffman.unpack(data, grid["bits"], count) - (1 << (grid["bits"] - 1))
    return torch.from_numpy(codes).float() * torch.tensor(grid["scale"])
