"""Text from files, tools and command lines, made fit to be shown: no control characters reach a terminal."""

import re

MAX_LINE = 2000
"""Most characters of a line for the user."""
_BREAK = re.compile(r"\s*[\n\r\v\f\x1c-\x1f\x85\u2028\u2029]\s*")


def printable(text: object) -> str:
    """``text`` with everything that is not printed as an escape, as ``\\x1b``: control and format characters (among
    them those of Unicode's bidirectional algorithm), and what is no valid Unicode. Newlines and tabs remain."""
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in shown)


def one_line(text: object) -> str:
    """``text`` as one printable line: line breaks become spaces, and the middle of a very long line is left out."""
    line = printable(_BREAK.sub(" ", str(text).strip()).replace("\t", " "))
    return line if len(line) <= MAX_LINE else f"{line[: MAX_LINE // 2]} ... {line[-MAX_LINE // 2 :]}"
