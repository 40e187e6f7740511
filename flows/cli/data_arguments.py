"""The options for data of one's own, which several commands share."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from flows.cli import train_settings as settings
from quant.data.choices import Normalization

PANEL = "Your own data"

TestShare = Annotated[
    float | None,
    typer.Option(help="share of data without a test set that becomes one (default: 0.2)", rich_help_panel=PANEL),
]
TargetColumn = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN",
        help="of a table: the label (default: label, class, target, y, or the last one)",
        rich_help_panel=PANEL,
    ),
]
DropColumn = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN", help="of a table: no feature, as an identifier", rich_help_panel=PANEL),
]
ImageSize = Annotated[str | None, typer.Option(metavar="HxW", help="scale images to this size", rich_help_panel=PANEL)]
Channels = Annotated[int | None, typer.Option(help="of images: 1 (grey) or 3 (color)", rich_help_panel=PANEL)]
Normalize = Annotated[
    Normalization | None,
    typer.Option(help="how values become the 8-bit codes of the network's input", rich_help_panel=PANEL),
]


def data_options(
    test_share: float | None,
    target_column: Sequence[str] | None,
    drop_column: Sequence[str] | None,
    image_size: str | None,
    channels: int | None,
    normalize: Normalization | None,
) -> dict[str, Any]:
    """The arguments of ``quant.load_data`` that were given. Raises typer.BadParameter for a wrong ``--image-size``."""
    given = {
        "test_share": test_share,
        "target": target_column,
        "drop": drop_column,
        "image_size": settings.size(image_size),
        "channels": channels,
        "normalize": normalize,
    }
    return {name: value for name, value in given.items() if value is not None}
