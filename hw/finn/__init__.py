"""FINN's dataflow dialect of ONNX, in which FINN executes, estimates and builds graphs.

``write`` converts a graph to FINN's nodes (finn-plus 1.6.1, not specialised), with the host's steps as ONNX nodes
around them. ``read`` converts such a model, or any that FINN made, specialised or not, to a graph. Both need only onnx
and qonnx. Both are exact: a node without an exact equivalent raises BitfabricError with its name.

======================== ==========================================================================================
kernel                   FINN
======================== ==========================================================================================
matrix_vector            MVAU without activation; the results of BIPOLAR times BIPOLAR are popcounts instead of sums
plane_matrix_vector      the same
sparse_matrix_vector     the same, of the dense matrix with its zeros
tied_matrix_vector       the same, of the dense matrix
coded_matrix_vector      the same, of the dense matrix
depthwise                VVAU without activation
plane_depthwise          the same
threshold                Thresholding; for channels that decrease, ``adapted`` negates the weights of the layer before
requant                  Requant, if FINN's float32 results in the same codes on the whole range; otherwise, for at
                         most 8 bits, Thresholding (``adapted``)
sliding_window           FMPadding (if there is padding, with the integer 0) and ConvolutionInputGenerator
sparse_window            (``adapted`` makes it a sliding_window, with the columns of zeros)
max_pool                 Pool (MaxPool), after a ConvolutionInputGenerator unless its input is windows already
accumulate_pool          Pool (AccPool) like max_pool, or GlobalAccPool for a whole image
add                      ElementwiseAdd, ElementwiseSub
fork, concat, upsample   DuplicateStreams, StreamingConcat, UpsampleNearestNeighbour
arg_max                  LabelSelect
fifo, width_converter    StreamingFIFO, StreamingDataWidthConverter
======================== ==========================================================================================

``read`` splits an MVAU or VVAU with thresholds into two nodes, gives XNOR layers BIPOLAR streams, and merges FMPadding
into the window after it. FINN represents signals (L, C) as images of one row; images of one row are read as signals.
"""

from hw.finn.adapted import adapted
from hw.finn.conversion import read, write
from hw.finn.dialect import general, is_finn
from hw.finn.execution import execute

__all__ = ["adapted", "execute", "general", "is_finn", "read", "write"]
