"""What all tests share: nothing in them depends on chance, on the tests before, or on how busy the machine is.

PyTorch and NumPy start every process with another seed, and processes that share the tests run them in another order
each time. So every test, and every fixture, starts from the same random numbers.
"""

import random
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# Upon the profile that Hypothesis chooses: with CI set it draws the same examples each time.
settings.register_profile("bitfabric", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("bitfabric")


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
