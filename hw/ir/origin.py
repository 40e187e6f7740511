"""The user's own names for a layer: those of the model's node and of the module that it was made from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """The part of a model that became a kernel.

    Attributes:
        node: the name of the model's node, as the file has it (``/blocks/blocks.0/first/conv/Conv``); "" where a kernel
            comes from no node.
        module: the name of the module that the node belongs to, as in the network's source (``blocks.0.first.conv``);
            "" where the file does not state it.
    """

    node: str = ""
    module: str = ""

    @property
    def name(self) -> str:
        """The name by which a user knows the layer: the module's, or the node's."""
        return self.module or self.node

    @property
    def names(self) -> dict[str, str]:
        """The names that there are, by ``node`` and ``module``."""
        return {key: name for key, name in vars(self).items() if name}
