"""Removal of channels that do nothing: constant ones, equal ones, and those that nothing uses.

A quantizer whose code is the same for every sum that its layer can reach has a constant channel; two neurons with equal
weights and thresholds (or negated ones) have equal channels; and where all weights of a channel are zero, nothing uses
it. Such channels are found in the integers of a graph, whatever it was made from, and removed where they are computed:
the row of weights, and what the quantizer knows of it. Their constants, times their weights, go to the thresholds
behind the sums that they were a part of, or to the host's first step behind an output; the columns of equal channels
are added. So the outputs stay the same, to the last integer, for every input.

``channels`` describes the channels of an edge, ``state`` what an analysis knows of all edges; ``products``,
``quantizers`` and ``moves`` hold a rule for each kernel, ``analysis`` applies them until nothing changes, and
``remove`` makes the reduced graph.

The analysis begins with the assumption that everything can be removed. A rule refuses to its inputs what its kernel
could not compute: a constant that is padded with another integer, sums of one-bit columns, an offset before a Table.
What is refused stays as it is, and the analysis starts again, until no rule refuses anything.
"""
