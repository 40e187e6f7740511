"""Campaigns of faults on the lines of simulated images, one for each host link; ``benchmarks`` uses them too."""

import random

from hw.boards.virtual import VirtualBoard
from hw.host.protocol import MAX_SLOTS
from tests.boards.faulty_line import FAULTS, Campaign, FaultyLine, one_run
from tests.boards.small_images import linked_image

LINKS = ("uart", "spi", "fifo", "fifo-sync")
"""The host links, as ``link_target`` names them."""
TIMEOUTS = (0.0003, 0.001)
"""Seconds of silence after which a session sends again: more than a frame takes, and short to simulate."""


class Simulated:
    """A simulated image that gives back its frames, as ``one_run`` sees it."""

    def __init__(self, board: VirtualBoard, octets: int, slots: int) -> None:
        self.board, self.in_octets, self.out_octets, self.slots = board, octets, octets, slots

    @property
    def now(self) -> float:
        return self.board.clock()

    def result(self, frame: bytes) -> bytes:
        return frame


def image_campaign(link: str, faults: int, seed: int) -> Campaign:
    """Runs over a link with random rates of random faults, one after the other on the same image, until so many
    ``faults`` have been made."""
    rng = random.Random(seed)
    done = Campaign()
    design, stream = linked_image(link)
    with VirtualBoard(design) as board:
        while done.faults.total() < faults:
            image = Simulated(board, stream.beats * stream.width // 8, rng.choice((1, 2, MAX_SLOTS)))
            kinds = rng.sample(FAULTS, rng.randint(1, len(FAULTS)))
            rates = {kind: 10 ** rng.uniform(-3.5, -1.5) for kind in kinds}
            line = FaultyLine(board, rates, rng)
            outcome, frames = one_run(line, image, rng, TIMEOUTS)
            done.outcomes[outcome] += 1
            done.faults += line.faults
            done.frames += frames
    return done
