"""A model folded for a target: everything that is known before synthesis."""

import os
from functools import cached_property
from math import floor
from pathlib import Path
from typing import Any

from flows.config import BuildConfig
from hw import fifo, folding, model_file, timing
from hw.boards.targets import find_target
from hw.errors import BitfabricError
from hw.folding_search import Choice, Search, fits
from hw.graph import Graph
from hw.kernels.kernel import Resources
from hw.synth.devices import Device

FILL = {"lut": 0.8, "ff": 0.8, "bram": 0.9, "dsp": 0.9}
"""Shares of the device that a design may be estimated to take that is as fast as the device allows: routing needs some
room, the shell about 1,100 lookup tables and the frames' buffers, and the resource model is not exact."""
QUARTER = dict.fromkeys(FILL, 0.25)
"""Shares that a design may take where nothing else is asked for."""
