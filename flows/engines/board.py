"""A board, programmed with the image and connected by its serial port."""

import numpy as np

from flows.engines.engine import Engine, RunOptions, Traits
from flows.implementation import Implementation
from hw.host.driver import Driver
from hw.host.ports import find_port, open_port
from hw.ir.frames import Batch


def _available(made: Implementation) -> str | None:
    if made.image is None:
        return f"{made.folder} has no image for a board; build it with a board as --target"
    return None


def _run(made: Implementation, x: np.ndarray, options: RunOptions) -> Batch:
    """The board's counters are ``cycles`` of a frame; since its reset ``frames``, ``stalls`` (cycles in which a beat
    waited for the accelerator), ``errors`` (messages dropped) and, with parity, ``parity_errors`` (cycles in which
    a word with a parity error was used); and the frames ``resent`` by the host."""
    link = made.interface()
    assert link is not None
    rate = options.baud or link.baud
    ((_, frames),) = made.graph.encode(x).items()
    transport = open_port(options.port, rate) if options.port else find_port(rate, link.model, link.usb)
    try:
        driver = Driver(transport, link.input_format, link.output_formats, link.model)
        results = dict(zip(made.graph.output_edges, driver.run(frames, options.progress), strict=True))
        if options.counters is not None:
            options.counters.update(driver.status().counters | {"resent": driver.session.resent})
    finally:
        transport.close()
    return made.graph.decode(results)


ENGINE = Engine(
    "board", Traits("board", "the image on a board, behind its serial port", on_board=True), _run, _available
)
