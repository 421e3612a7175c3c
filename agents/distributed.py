"""Training by several processes, each on its share of the lanes: `torchrun --nproc-per-node 2 -m pvg.cli train ...`.

Every process plays its own lanes of the same games and draws what one process would draw for them; means are sums over all
processes divided by counts over all, gradients are added up, so that weights stay equal to those one process would find. The
seed decides the weights they begin with, so nothing is sent at the start. Where a best response is searched for by climbing,
each process climbs from random messages of its own, so there the weights are those of another seed. What is done after training,
such as measuring, each does alone, outside `processes`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed


def size() -> int:
    """How many processes train together; 1 unless `processes` has begun."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return distributed.get_rank() if size() > 1 else 0


def total(local: Tensor) -> Tensor:
    """The sum of a tensor over all processes, without gradient; the tensor itself where there is one."""
    if size() == 1:
        return local
    out = local.detach().clone()
    distributed.all_reduce(out)
    return out


def own(everyones: Tensor) -> Tensor:
    """This process's rows of a tensor over the rows of all."""
    count = len(everyones) // size()
    return everyones[rank() * count : (rank() + 1) * count]


def counted(local: Tensor) -> tuple[int, int]:
    """How many of something the processes before this one have, and how many all have: from how many it has, 0-d."""
    counts = torch.zeros(size(), dtype=torch.int64, device=local.device)
    counts[rank()] = local
    found = total(counts).tolist()
    return sum(found[: rank()]), sum(found)


def add_gradients(parameters: list[torch.nn.Parameter]) -> list[Tensor]:
    """Make every process's gradients their sum; returns them, of the parameters that have one."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if size() > 1 and gradients:
        flat = total(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))
    return gradients


@contextmanager
def processes(device: str) -> Iterator[None]:
    """Join the processes `torchrun` has started, by gloo on CPUs and NCCL on GPUs; nothing where it has not."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or size() > 1:
        yield
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()
