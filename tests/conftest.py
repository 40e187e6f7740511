"""Random numbers of the tests: what a test draws does not depend on the process that runs it, or on the tests before.

PyTorch and NumPy start every process with another seed, and processes that share the tests run them in another order
each time.
"""

import random
import sys

import numpy as np
import pytest


def _seed() -> None:
    random.seed(0)
    np.random.seed(0)
    if {"quant", "torch"} & sys.modules.keys():  # quant imports torch when it is first needed
        import torch

        torch.manual_seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup() -> None:
    _seed()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    _seed()
