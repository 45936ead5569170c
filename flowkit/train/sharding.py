"""Divides the weights of a flow among the processes of a training with FSDP, and gathers them again.

FSDP is imported when it is used, because that takes about a second.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from flowkit.bijectors import Conditioner
from flowkit.flow import Flow

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def sharded(flow: Flow, mesh: DeviceMesh, by_network: bool) -> Flow:
    """Divide the parameters of a flow among the processes of a mesh, in place.

    A call of the flow gathers the parameters, which stay until the backward pass has ended. With ``by_network`` each
    conditioner gathers its own parameters, and only while it runs. Its backward pass must not call it again, as that of
    ``memory: checkpoint`` or ``reversible`` does.
    """
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = mesh["data_parallel"]
    for parameter in flow.parameters():
        parameter.data = parameter.contiguous()  # FSDP takes no other layout, such as channels_last
    # Conditioners return views, and nothing writes into them.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view", UserWarning)
    networks = [module for module in flow.modules() if isinstance(module, Conditioner)] if by_network else []
    for module in networks:
        fully_shard(module, mesh=mesh)
    # A flow without gradients, such as the moving average, isn't gathered for a backward pass.
    trained = any(parameter.requires_grad for parameter in flow.parameters())
    fully_shard(flow, mesh=mesh, reshard_after_forward=None if trained else True)
    register_fsdp_forward_method(flow, "dequantize")
    return flow


def gather_weights(flow: Flow) -> None:
    """Gather the parameters of a sharded flow for calls of its layers. It does nothing to other flows."""
    if unshard := getattr(flow, "unshard", None):
        unshard()


def undivided(tensor: Tensor) -> Tensor:
    """Return the whole tensor. All processes must call it.

    One that FSDP divided is gathered on the CPU; any other is returned unchanged.
    """
    if not _is_divided(tensor):
        return tensor
    from torch.distributed.tensor import DTensor

    assert isinstance(tensor, DTensor)
    return tensor.full_tensor().cpu()


def divided(tensor: Tensor, like: Tensor) -> Tensor:
    """Return this process's part of a tensor if ``like`` is divided. A single number isn't divided."""
    if not _is_divided(like) or tensor.ndim == 0:
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def load_undivided(flow: Flow, weights: Mapping[str, Tensor]) -> None:
    """Load whole weights into a flow, which may be sharded."""
    flow.load_state_dict({name: divided(weights[name], like) for name, like in flow.state_dict().items()})


def _is_divided(tensor: Tensor) -> bool:
    return hasattr(tensor, "full_tensor")  # which a DTensor has
