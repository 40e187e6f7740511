"""The settings of all tests (tests/conftest.py)."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings


@pytest.mark.parametrize("_time", [1, 2])
def test_the_same_numbers_each_time(_time: int) -> None:
    assert random.random() == random.Random(0).random()
    assert np.random.random() == np.random.RandomState(0).random()
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(0)))


def test_no_example_is_too_slow() -> None:
    assert settings(max_examples=5).deadline is None
    assert settings().suppress_health_check == (HealthCheck.too_slow,)


@pytest.mark.parametrize(("given", "derandomize"), [({}, "False"), ({"CI": "true"}, "True")])
def test_the_examples_are_the_same_in_ci(given: dict[str, str], derandomize: str) -> None:
    code = "import tests.conftest; from hypothesis import settings; print(settings(max_examples=5).derandomize)"
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "PYTHONPATH")}
    command, root = [sys.executable, "-c", code], Path(__file__).parents[1]
    done = subprocess.run(command, env=kept | given, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == derandomize
