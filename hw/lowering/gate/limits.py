"""The sizes up to which a model is read. They are far above what fits an FPGA, and bound memory and time.

A model beyond one of them is refused in one line that names the limit.
"""

MAX_FILE_BYTES = 1 << 30
"""A model file, and each model file together with its second file of weights."""
DENSE_FILE_BYTES = 16 << 20
"""Files above this size are scanned before they are parsed: a few bytes of a file can take a hundred of memory."""
MAX_MESSAGES = 1 << 21
"""Entries (nodes, attributes, names, dimensions, ...) of a scanned file."""
MAX_NODES = 250_000
MAX_NAME = 1024
"""Characters of the name of a node or tensor."""
MAX_RANK = 8
MAX_DIMENSION = 1 << 24
MAX_CHANNELS = 1 << 17
"""Channels of the image or signal that windows read: each can have a scale and an offset of its own, as fractions."""
MAX_ELEMENTS = 1 << 26
"""Elements of one tensor, computed or constant."""
MAX_FOLDED = 1 << 27
"""Elements of all constants together that are computed from others."""
MAX_WORK = 10**12
"""Multiplications and comparisons of all layers for one frame."""
MAX_CHAIN = 4096
"""Element-wise operators between two layers."""
MAX_MOVES = 64
"""Reshape and Transpose operators between two layers that cannot be merged."""
MAX_BITS = 16
"""Bits of a stream that is quantized, and of weights. Sums have as many bits as they need."""
MAX_ADDEND_BITS = 32
"""Bits of constants that are only added: biases."""
MAX_TRUNCATED = 64
"""Bits that a Trunc takes: those of sums."""
MAX_ZERO_POINT = 1 << 24
"""Magnitude of a quantizer's zero point; float32 holds no larger integers exactly."""
INFERENCE_SECONDS = 20
"""Time in which ONNX's own shape inference must answer for one operator of another package."""
INFERENCE_BYTES = 4 << 30
"""Address space of the process that runs ONNX's own shape inference."""
