"""A board, programmed with the image and connected by its host link."""

from flows.engines.engine import Engine, RunOptions, Traits
from flows.implementation import Implementation
from hw.host.benchmark import Replayed
from hw.host.boards import open_board
from hw.host.driver import Driver
from hw.host.errors import UsageError
from hw.ir.frames import Batch


def _available(made: Implementation) -> str | None:
    if made.image is None:
        return f"{made.folder} has no image for a board; build it with a board as --target"
    return None


def _run(made: Implementation, x: Batch, options: RunOptions) -> Batch:
    """The board's counters are ``cycles`` of a frame; since its reset ``frames``, ``stalls`` (cycles in which a beat
    waited for the accelerator), ``errors`` (messages dropped) and, with parity, ``parity_errors`` (cycles in which
    a word with a parity error was used); and the frames ``resent`` by the host."""
    link = made.interface()
    assert link is not None
    ints = made.graph.encode(x)
    frames = [ints[port.edge] for port in made.graph.inputs]
    transport = open_board(link, options.port, options.baud)
    try:
        driver = Driver(transport, link.input_formats, link.output_formats, link.model)
        results = dict(zip(made.graph.output_edges, driver.run(*frames, progress=options.progress), strict=True))
        if options.counters is not None:
            options.counters.update(driver.status().counters | {"resent": driver.session.resent})
    finally:
        transport.close()
    return made.graph.decode(results)


def benchmark(made: Implementation, x: Batch, count: int, options: RunOptions) -> Replayed:
    """Replay ``count`` of the frames ``x``, over and over, inside the board's image; see ``Accelerator.benchmark``."""
    if reason := _available(made):
        raise UsageError(reason)
    link = made.interface()
    assert link is not None
    ints = made.graph.encode(x)
    frames = [ints[port.edge] for port in made.graph.inputs]
    expected = made.graph.execute(ints)
    transport = open_board(link, options.port, options.baud)
    try:
        driver = Driver(transport, link.input_formats, link.output_formats, link.model)
        results = [expected[edge] for edge in made.graph.output_edges]
        return driver.benchmark(count, *frames, beats=link.beats, expected=results, progress=options.progress)
    finally:
        transport.close()


ENGINE = Engine(
    "board", Traits("board", "the image on a board, behind its serial port", on_board=True), _run, _available
)
