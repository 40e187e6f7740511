"""FINN beside the open back end: its front end, its estimates, its Python execution, its build flow."""

from flows.engines.finn import Engine, execute
from flows.finn.estimate import FinnEstimate, FinnLayer, FoldingConfig, estimate
from flows.finn.flow import flow

__all__ = ["Engine", "FinnEstimate", "FinnLayer", "FoldingConfig", "estimate", "execute", "flow"]
