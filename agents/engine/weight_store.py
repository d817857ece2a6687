"""Where the trained weights and the optimizer's moments lie: read whole and written whole.

`WeightStore` is the plain case, all of it in this process. DeepSpeed's sharded one fulfils the same
methods (`agents.engine.sharded_store`), so that a saved state knows nothing of shards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from agents.engine.network import CausalNetwork
from agents.engine.optimizer import AdamWState, adamw_state, set_adamw_state
from agents.engine.state_file import load_module, module_state

__all__ = ["WeightStore"]


class WeightStore:
    """Weights and moments of a network that lies whole in this process.

    With several processes every method is collective: all of them call it, in one order.

    Args:
        network: the trained network.
    """

    is_gathered = False  # whether the parameters are whole only for a while, as now

    def __init__(self, network: CausalNetwork) -> None:
        self._network = network

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Return a block in which every parameter is whole, for reading."""
        yield

    def expected(self, module: nn.Module) -> dict[str, torch.Tensor]:
        """Return tensors with the names, shapes and dtypes that `weights` returns."""
        return module_state(module)

    def weights(self, module: nn.Module) -> dict[str, torch.Tensor]:
        """Return the module's parameters and persistent buffers, at the precision of training.

        Args:
            module: the network or a part of it.
        """
        return module_state(module)

    def set_weights(
        self, module: nn.Module, tensors: Mapping[str, torch.Tensor], path: Path
    ) -> None:
        """Write what `weights` returned; addresses stay.

        Raises:
            ValueError: `tensors` are not of this module; nothing is changed.
        """
        load_module(module, tensors, path)

    def overwrite(self, values: Mapping[str, torch.Tensor]) -> None:
        """Write what the network computes with, by name; masters, if any, keep theirs."""
        with torch.no_grad():
            for name, parameter in self._network.named_parameters():
                if name in values:
                    self._write(parameter, values[name])

    def moments(self, optimizer: torch.optim.AdamW) -> dict[str, torch.Tensor]:
        """Return the optimizer's state as `agents.engine.optimizer.adamw_state` names it."""
        return adamw_state(optimizer, self._network)

    def check_moments(self, state: AdamWState, path: Path) -> None:
        """Refuse a state that the optimizer could not go on from.

        Raises:
            ValueError: says which.
        """

    def set_moments(self, optimizer: torch.optim.AdamW, state: AdamWState) -> None:
        """Write what `moments` returned, parsed by `agents.engine.optimizer.parse_adamw`."""
        set_adamw_state(optimizer, self._network, state)

    def discard_gradients(self, optimizer: torch.optim.AdamW) -> None:
        """Forget what `backward` has gathered."""
        optimizer.zero_grad(set_to_none=True)

    def _write(self, tensor: torch.Tensor, value: torch.Tensor) -> None:
        tensor.copy_(value)
