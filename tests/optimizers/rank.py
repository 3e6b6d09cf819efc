"""Two processes: a model with tables under DistributedDataParallel and fully_shard. Each writes down what it met.

Both are forks of one that has loaded all libraries, which takes longer than what they do.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import numba  # noqa: F401
import torch
import torch._dynamo
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard

from coset import EmbeddingBagCollection, QuotientRemainder, Table
from coset.errors import InputError
from coset.optimizers import SGD, Adam


class Net(nn.Module):
    """Tables and a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.bags = EmbeddingBagCollection([(Table("u", 60, 8), QuotientRemainder(8))])
        self.top = nn.Linear(8, 1)

    def forward(self, ids: Tensor) -> Tensor:
        found: Tensor = self.top(self.bags({"u": ids})["u"])
        return found


def met(what: str, work: Callable[[], object]) -> None:
    try:
        work()
        print(what, "nothing")
    except InputError as error:
        print(what, str(error).replace("\n", " "))


def main(rank: int, folder: Path) -> None:
    with (folder / f"{rank}.txt").open("w") as said, redirect_stdout(said):
        train(rank, folder / "store")


def train(rank: int, store: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2, init_method=f"file://{store}")
    torch.manual_seed(0)
    ids = torch.arange(5) + rank
    net = Net()
    tables = SGD(net.bags)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    ddp = nn.parallel.DistributedDataParallel(net, find_unused_parameters=True)
    ddp(ids).sum().backward()
    met("whole", tables.step)
    tables.release()
    part = Net()
    tables = SGD(part.bags)
    ddp = nn.parallel.DistributedDataParallel(part.top)
    ddp(part.bags({"u": ids})["u"]).sum().backward()
    met("part", tables.step)
    print("unchanged", all(torch.equal(before[name], value) for name, value in net.state_dict().items()))
    alone = Net()
    tables = SGD(alone.bags, replicas="independent")
    alone(ids).sum().backward()
    met("alone", tables.step)
    sharded = Net()
    fully_shard(sharded.bags)
    met("sharded", lambda: SGD(sharded))
    later = Net()
    tables = Adam(later, mode="dense", replicas="independent")
    later(ids).sum().backward()
    tables.step()
    later(ids + 20).sum().backward()
    tables.step()
    fully_shard(later.bags)
    met("sharded later", lambda: later.bags({"u": ids}))
    met("step", tables.step)
    dist.destroy_process_group()


if __name__ == "__main__":
    forks = multiprocessing.get_context("fork")
    ranks = [forks.Process(target=main, args=(rank, Path(sys.argv[1]))) for rank in range(2)]
    for each in ranks:
        each.start()
    for each in ranks:
        each.join(timeout=120)
        each.kill()  # it is there only if it waits for the other, which has failed
    sys.exit([each.exitcode for each in ranks] != [0, 0])
