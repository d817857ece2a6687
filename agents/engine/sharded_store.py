"""Weights and moments that DeepSpeed's ZeRO keeps in shards, consolidated and split again.

At stages 1 and 2 the parameters are whole, beside float32 masters and moments that are not; at
stage 3 nothing is whole. What is saved are the masters, and all else as float32 too, so that a
state loads at any stage, in any number of processes, and without DeepSpeed into a float32 model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from agents.engine.network import CausalNetwork
from agents.engine.optimizer import MOMENTS, AdamWState
from agents.engine.state_file import check_state, module_state
from agents.engine.weight_store import WeightStore

__all__ = ["ShardAccess", "ShardedStore"]


@dataclass(frozen=True)
class ShardAccess:
    """DeepSpeed's functions, handed in since one file alone imports it.

    Attributes:
        get: `safe_get_full_fp32_param`.
        set: `safe_set_full_fp32_param`.
        get_moment: `safe_get_full_optimizer_state`.
        set_moment: `safe_set_full_optimizer_state`.
        set_local: `safe_set_local_fp32_param`, stage 3 alone.
        set_local_moment: `safe_set_local_optimizer_state`, stage 3 alone.
        gathered: `deepspeed.zero.GatheredParameters`.
    """

    get: Callable[..., torch.Tensor | None]
    set: Callable[..., None]
    get_moment: Callable[..., torch.Tensor | None]
    set_moment: Callable[..., None]
    set_local: Callable[..., None]
    set_local_moment: Callable[..., None]
    gathered: Callable[..., AbstractContextManager[None]]


class ShardedStore(WeightStore):
    """A `WeightStore` over a DeepSpeed engine at ZeRO stage 1, 2 or 3.

    Args:
        network: the trained network.
        zero: the engine's ZeRO optimizer.
        access: DeepSpeed's functions.
        rank: of this process.
    """

    def __init__(
        self, network: CausalNetwork, zero: Any, access: ShardAccess, rank: int
    ) -> None:
        super().__init__(network)
        self._zero = zero
        self._access = access
        self._rank = rank
        self._offload = getattr(zero, "parameter_offload", None)  # stage 3 has one

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Return a block in which every parameter is whole, for reading; blocks may be nested.

        At stage 3 the engine's hooks, which gather each layer before it runs and let go of it
        after, are taken off meanwhile: nothing inside the block waits for another process.
        """
        if self._offload is None or self.is_gathered:
            yield
            return
        hooks = self._offload
        with self._access.gathered(list(self._network.parameters())):
            for handles in (hooks.forward_hooks, hooks.backward_hooks):
                for handle in handles:
                    handle.remove()
                handles.clear()
            self.is_gathered = True
            try:
                yield
            finally:
                self.is_gathered = False
                hooks._register_deepspeed_module(hooks.module)

    def expected(self, module: nn.Module) -> dict[str, torch.Tensor]:
        """Return meta tensors: the whole shape of each tensor, and float32."""
        return {
            name: torch.empty(
                getattr(tensor, "ds_shape", tensor.shape),
                dtype=_stored_dtype(tensor),
                device="meta",
            )
            for name, tensor in module_state(module).items()
        }

    def weights(self, module: nn.Module) -> dict[str, torch.Tensor]:
        """Return the masters of trained parameters, and all else widened, on the CPU."""
        return {
            name: self._whole(tensor)
            .detach()
            .to("cpu", _stored_dtype(tensor), copy=True)
            for name, tensor in module_state(module).items()
        }

    def set_weights(
        self, module: nn.Module, tensors: Mapping[str, torch.Tensor], path: Path
    ) -> None:
        """Write masters, and parameters as their rounding; addresses stay at stages 1 and 2."""
        check_state(self.expected(module), tensors, path)
        with torch.no_grad():
            for name, tensor in module_state(module).items():
                value = tensors[name].to(tensor.device)
                self._write(tensor, value)
                if self._has_master(tensor):
                    self._split(tensor, value, None)

    def moments(self, optimizer: torch.optim.AdamW) -> dict[str, torch.Tensor]:
        """Return the moments of every trained parameter; empty before the first step."""
        # A process may hold no part of a group, so it counts by the first that it has.
        counts = [state["step"] for state in optimizer.state.values() if state]
        if not counts:
            return {}
        self._link_moments()
        found: dict[str, torch.Tensor] = {}
        for name, parameter in self._network.named_parameters():
            if not self._has_master(parameter):
                continue
            for moment in MOMENTS[:2]:
                whole = self._access.get_moment(parameter, moment)
                assert whole is not None  # it has a master, so it has moments
                found[f"{name}.{moment}"] = whole.to("cpu", copy=True)
            found[f"{name}.step"] = (
                counts[0].detach().to("cpu", torch.float32, copy=True)
            )
        return found

    def check_moments(self, state: AdamWState, path: Path) -> None:
        """Refuse parameters that took different numbers of steps: a shard counts them once.

        Raises:
            ValueError: names the counts.
        """
        counts = sorted({float(moments["step"]) for moments in state.values()})
        if len(counts) > 1:
            raise ValueError(
                f"The parameters in {path} took different numbers of steps ({counts[:3]}), and "
                "ZeRO counts them together. Load it at stage 0 or into engine='local'."
            )

    def set_moments(self, optimizer: torch.optim.AdamW, state: AdamWState) -> None:
        """Write moments; a parameter without any has zeros, as if it had had no gradient."""
        optimizer.state.clear()
        if not state:
            return
        step = next(iter(state.values()))["step"]
        for master in self._masters():
            optimizer.state[master] = {
                "step": step.clone(),
                "exp_avg": torch.zeros_like(master).detach(),
                "exp_avg_sq": torch.zeros_like(master).detach(),
            }
        self._link_moments()
        for name, parameter in self._network.named_parameters():
            for moment in MOMENTS[:2] if name in state else ():
                value = state[name][moment].to(parameter.device)
                self._split(parameter, value, moment)

    def discard_gradients(self, optimizer: torch.optim.AdamW) -> None:
        """Forget what `backward` has gathered; the optimizer itself holds buffers of ZeRO's."""
        self._zero.zero_grad(set_to_none=True)
        if self._offload is None:
            # As after a step: the next gradients replace these.
            self._zero.micro_step_id = -1
            for group in getattr(self._zero, "averaged_gradients", ()):
                self._zero.averaged_gradients[group] = None
            for group in getattr(self._zero, "all_grad_tensors", ()):
                self._zero.all_grad_tensors[group] = None

    def _link_moments(self) -> None:
        """Tell DeepSpeed where the moments lie, at stages 1 and 2.

        Left alone it looks once, after the first group's first step, when the others have none.
        """
        if self._offload is None:
            self._zero._hp_optimizer_states_linked = False
            self._zero._lazy_init_hp_params_optimizer_state()

    def _masters(self) -> list[torch.Tensor]:
        """Return the flat float32 shards of this process."""
        for name in (
            "fp32_partitioned_groups_flat",  # stage 3
            "single_partition_of_fp32_groups",  # stages 1 and 2
            "fp32_groups_flat_partition",  # stage 1 in bfloat16 with float32 gradients
        ):
            if hasattr(self._zero, name):
                masters: list[torch.Tensor] = getattr(self._zero, name)
                return masters
        raise RuntimeError(
            f"{type(self._zero).__name__} keeps its shards where this project does not know; it "
            "knows DeepSpeed 0.19."
        )

    def _has_master(self, tensor: torch.Tensor) -> bool:
        is_sharded = hasattr(tensor, "ds_id") or hasattr(tensor, "_hp_mapping")
        return tensor.requires_grad and is_sharded

    def _write(self, tensor: torch.Tensor, value: torch.Tensor) -> None:
        if not hasattr(tensor, "ds_id"):
            tensor.copy_(value)
            return
        # Every process writes the same; DeepSpeed broadcasts the first one's.
        with self._access.gathered([tensor], modifier_rank=0):
            tensor.data.copy_(value)

    def _whole(self, tensor: torch.Tensor) -> torch.Tensor:
        if self._has_master(tensor):
            master = self._access.get(tensor)
            assert master is not None  # trained, so it has one
            return master
        if hasattr(tensor, "ds_id") and not self.is_gathered:
            with self._access.gathered([tensor]):
                return tensor.detach().clone()
        return tensor

    def _split(self, parameter: Any, value: torch.Tensor, moment: str | None) -> None:
        """Write this process's part of a master or of a moment."""
        value = value.float()
        if self._offload is None:
            if moment is None:
                self._access.set(parameter, value)
            else:
                self._access.set_moment(parameter, value, moment)
            return
        # DeepSpeed's own setter fails where the last shard is padded.
        size = parameter.ds_tensor.ds_numel
        padded = value.new_zeros((self._rank + 1) * size)
        flat = value.flatten()[: len(padded)]
        padded[: len(flat)] = flat
        part = padded[self._rank * size :]
        if moment is None:
            self._access.set_local(parameter, part)
        else:
            self._access.set_local_moment(parameter, part, moment)


def _stored_dtype(tensor: torch.Tensor) -> torch.dtype:
    return torch.float32 if tensor.is_floating_point() else tensor.dtype
