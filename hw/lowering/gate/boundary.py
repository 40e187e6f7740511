"""One line for whatever a library raises: the boundary between other packages' exceptions and users."""

from collections.abc import Iterator
from contextlib import contextmanager

from hw.host import text
from hw.host.errors import BitfabricError


def one_line(error: BaseException, most: int = 160) -> str:
    """An exception's text on one short printable line."""
    return text.one_line(" ".join(str(error).split()) or type(error).__name__, most)


@contextmanager
def boundary(what: str, remedy: str = "export the model again") -> Iterator[None]:
    """Turn every exception that is not meant for users into a BitfabricError of one line about ``what``.

    ``what`` names the node or file. The exception stays attached as the cause.
    """
    try:
        yield
    except BitfabricError:
        raise
    except MemoryError as error:
        raise BitfabricError(f"{what} needs more memory than there is; use a smaller model") from error
    except RecursionError as error:
        raise BitfabricError(f"{what} is nested too deeply; {remedy}") from error
    except Exception as error:
        raise BitfabricError(f"{what} fails ({type(error).__name__}: {one_line(error)}); {remedy}") from error
