"""FINN's dataflow ONNX dialect: the form in which FINN executes, estimates and builds a graph, and we save one.

``write`` gives a graph as FINN's nodes (finn-plus 1.6.1, not specialised) with the host's steps as ONNX nodes around
them; ``read`` takes such a file, or any that FINN made, specialised or not. Only onnx and qonnx are needed. What
FINN has no form for is refused by the node's name; nothing is approximated.

======================== ==========================================================================================
kernel                   FINN
======================== ==========================================================================================
matrix_vector            MVAU without activation; of BIPOLAR by BIPOLAR it gives popcounts, not sums
depthwise                VVAU without activation
threshold                Thresholding; channels that fall are turned by ``adapted``: the weights before change sign
requant                  Requant, where FINN's float32 gives the same codes on the whole range; else, of at most
                         8 bits, thresholds (``adapted``)
sliding_window           FMPadding if it pads, and ConvolutionInputGenerator
max_pool                 Pool (MaxPool), behind a ConvolutionInputGenerator unless it has windows already
accumulate_pool          the same (AccPool), or GlobalAccPool where it takes a whole image
add                      ElementwiseAdd, ElementwiseSub
fork, concat, upsample   DuplicateStreams, StreamingConcat, UpsampleNearestNeighbour
arg_max                  LabelSelect
fifo, width_converter    StreamingFIFO, StreamingDataWidthConverter
======================== ==========================================================================================

Reading, an MVAU or VVAU with thresholds becomes two nodes, XNOR layers take BIPOLAR streams, and FMPadding joins the
window behind it. Signals (L, C) are images of one row to FINN, and images of one row are read as signals.
"""

from hw.finn.adapted import adapted
from hw.finn.conversion import read, write
from hw.finn.dialect import general, is_finn

__all__ = ["adapted", "general", "is_finn", "read", "write"]
