"""Whether a module carries LoRA adapters, and the module as it is without them.

Knows no peft: the layers say of themselves what they are (`agents.engine.lora` puts them there).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

__all__ = ["adapter_layers", "has_adapter", "without_adapter"]


def adapter_layers(module: nn.Module) -> dict[str, Any]:
    """Return the layers that add an adapter's product to a frozen layer's, by name."""
    return {
        name: layer
        for name, layer in module.named_modules()
        if hasattr(layer, "_disable_adapters")
    }


def has_adapter(module: nn.Module) -> bool:
    """Return whether only adapters of `module` are trained."""
    return bool(adapter_layers(module))


@contextmanager
def without_adapter(module: nn.Module) -> Iterator[None]:
    """Let `module` compute what its frozen weights alone say, inside the block.

    peft's own switch would also change which parameters want gradients, which ZeRO has counted.
    """
    layers = adapter_layers(module).values()
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False
