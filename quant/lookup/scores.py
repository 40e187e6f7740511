"""The search for wires: every wire has a score for each bit that it can read."""

import torch

ROWS = 512
"""Wires whose scores are changed and searched at a time: on a CPU those of 1,000 bits stay in the cache."""


class WireScores:
    """Scores ``values`` (wires, C) of the C ``candidates``, inputs of the layer; ``best`` (wires,) is the candidate's
    number with the highest score."""

    def __init__(self, values: torch.Tensor, candidates: torch.Tensor) -> None:
        self.values, self.candidates = values, candidates
        self.best = values.argmax(1)

    @classmethod
    def start(cls, wires: torch.Tensor, candidates: torch.Tensor, inputs: int) -> "WireScores":
        """Scores of ``wires`` (K, O) to some of the ``candidates`` among ``inputs`` bits, in the order of the wires."""
        place = torch.zeros(inputs, dtype=torch.long, device=candidates.device)
        place[candidates] = torch.arange(len(candidates), device=candidates.device)
        values = torch.zeros(wires.numel(), len(candidates), device=candidates.device)
        # Of candidates with equal scores, the present wire is the best one.
        return cls(values.scatter_(1, place[wires].view(-1, 1), 1e-6), candidates)

    def to(self, device: torch.device) -> "WireScores":
        """Returns the scores on a device."""
        return WireScores(self.values.to(device), self.candidates.to(device))

    def wires(self) -> torch.Tensor:
        """Returns the input with the highest score for each wire, (wires,)."""
        return self.candidates[self.best]

    @torch.no_grad()
    def lower(self, slopes: torch.Tensor, x: torch.Tensor) -> None:
        """Lowers the scores by the gradients of the wires (wires, M) times the bits of the layer's inputs (I, M).

        A wire's score of a candidate falls by the loss's derivative by this wire where the candidate is 1.
        """
        chosen = x.index_select(0, self.candidates)  # (C, M)
        if self.values.device.type != "cpu":
            self.values.addmm_(slopes, chosen.t(), alpha=-1.0)
            torch.argmax(self.values, 1, out=self.best)
            return
        for values, rows, best in zip(self.values.split(ROWS), slopes.split(ROWS), self.best.split(ROWS), strict=True):
            values.sub_(_products(rows, chosen))
            # NumPy finds the highest of a row about five times as fast as torch.
            best.copy_(torch.from_numpy(values.numpy().argmax(1)))


def _products(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Returns ``a @ b.t()`` on a CPU. In float32 with oneDNN, which is faster than MKL on processors of AMD."""
    if a.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        return torch.nn.functional.linear(a.to_mkldnn(), b.to_mkldnn()).to_dense()
    return a @ b.t()
