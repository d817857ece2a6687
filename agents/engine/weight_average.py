"""An exponential moving average of the trained weights, for evaluating and keeping.

Polyak and Juditsky 1992, "Acceleration of stochastic approximation by averaging", in its
exponential form: after each update, average = decay * average + (1 - decay) * weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from agents.engine.network import CausalNetwork
from agents.engine.weight_store import WeightStore

__all__ = ["WeightAverage"]


class WeightAverage:
    """Float32 averages of the parameters that are trained, whole in every process.

    Args:
        network: its weights of now are the average at first.
        store: where the weights lie.
        decay: share of the average that an update keeps, in (0, 1).
    """

    def __init__(
        self, network: CausalNetwork, store: WeightStore, decay: float
    ) -> None:
        self._network = network
        self._store = store
        self._decay = decay
        self.is_swapped = False
        self.tensors = self._current()

    def update(self) -> None:
        """Follow the weights after an update; collective at ZeRO stage 3."""
        with self._store.gathered(), torch.no_grad():
            for name, parameter in self._trained():
                self.tensors[name].lerp_(parameter.float(), 1 - self._decay)

    def set(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Make `tensors` the average."""
        for name, tensor in tensors.items():
            self.tensors[name].copy_(tensor)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Let the network compute with the average inside the block, as before after it.

        Raises:
            RuntimeError: it does already, or a decoder has the weights of ZeRO stage 3 gathered.
        """
        if self.is_swapped or self._store.is_gathered:
            raise RuntimeError(
                "The averaged weights cannot be put in here: they are in already, or a decoder is "
                "open at ZeRO stage 3. Open `averaged_weights()` first and the decoder inside it."
            )
        own = self._current()
        self._store.overwrite(self.tensors)
        self.is_swapped = True
        try:
            yield
        finally:
            self._store.overwrite(own)
            self.is_swapped = False

    def _trained(self) -> list[tuple[str, torch.nn.Parameter]]:
        return [(n, p) for n, p in self._network.named_parameters() if p.requires_grad]

    def _current(self) -> dict[str, torch.Tensor]:
        # bfloat16 is exact in float32, so what goes back is what was there.
        with self._store.gathered():
            return {
                name: parameter.detach().to(torch.float32, copy=True)
                for name, parameter in self._trained()
            }
