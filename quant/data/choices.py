"""What a user chooses for data, by name. Light to import, also for the command line."""

from typing import Literal

Task = Literal["classification", "regression", "reconstruction"]
"""What a network learns from a data set.

- ``classification``: the class of a sample. Targets are classes (N,) int64.
- ``regression``: numbers. Targets are (N, K) float32.
- ``reconstruction``: the sample itself, as an autoencoder does, to find anomalous ones. Targets (N,) int64 are 0 for
  normal and 1 for anomalous samples: labels 0 and 1, or whether a label is one that does not occur in the training set.
"""

Normalization = Literal["auto", "none", "standard", "range"]
"""How values become the codes of a network's input.

- ``none``: they are whole numbers of at most 16 bits, and stay what they are.
- ``standard``: -128..127, centred at the mean of the training set, with 32 codes per standard deviation: 8 bits cover
  four deviations on either side. For each feature, or each channel of images.
- ``range``: 0..255 from the least to the greatest value of the training set. For each feature, or each channel. Images
  between 0 and 1 have the offset 0 and the scale 1/255.
- ``auto``: ``none`` for images of whole numbers 0..255 and for features of whole numbers, ``range`` for other images,
  ``standard`` for other features. Whole numbers of a table are kept only where 8 bits hold them all.
"""
