"""Interfaces to FINN: its front end, its estimates, its Python execution, and its build flow."""

from flows.finn.dataflow import FinnDataflow
from flows.finn.estimate import FinnEstimate, FinnLayer, FoldingConfig, estimate
from flows.finn.flow import flow

__all__ = ["FinnDataflow", "FinnEstimate", "FinnLayer", "FoldingConfig", "estimate", "flow"]
