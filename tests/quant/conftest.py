import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    # These tensors are tiny: on a busy machine more threads wait for one another ten times longer than they compute.
    torch.set_num_threads(1)
