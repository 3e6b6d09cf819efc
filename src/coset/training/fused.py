"""`FusedDot`: the fused engine of a dot model, which trains many batches in one call of a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from coset.engine.program import NARROW, Program, fusable
from coset.errors import InputError
from coset.kernels import layout
from coset.methods import TableModule
from coset.models.dot import DotModel
from coset.tables import check_ids
from coset.training.settings import TrainingSettings

Engine = Literal["auto", "fused", "plain"]
ENGINES = ("auto", "fused", "plain")

_KINDS = {
    "sgd": (layout.SGD, ()),
    "adagrad": (layout.ADAGRAD, ("sum",)),
    "adam": (layout.ADAM, ("exp_avg", "exp_avg_sq")),
    "lazy_adam": (layout.ADAM, ("exp_avg", "exp_avg_sq")),
}
_BETAS = 0.9, 0.999


def choose(engine: Engine, model: DotModel, settings: TrainingSettings) -> Literal["fused", "plain"]:
    """The engine that trains this model: fused where every table is composed of rows on the CPU.

    Raises:
        InputError: an engine that is none, or that cannot train this model.
    """
    if engine not in ENGINES:
        raise InputError(f"engine must be one of {', '.join(ENGINES)}, not {engine!r}")
    unfit = _unfit(model)
    if engine == "fused" and unfit:
        raise InputError(f"engine 'fused' needs {unfit}; use 'auto' or 'plain'")
    if settings.optimizer == "lazy_adam" and (unfit or engine == "plain"):
        raise InputError("optimizer 'lazy_adam' is of the fused engine alone; use 'adam'")
    return "plain" if unfit or engine == "plain" else "fused"


def _unfit(model: DotModel) -> str | None:
    """What the fused engine needs and this model lacks."""
    for name, module in _tables(model).items():
        if not fusable(module):
            return f"tables composed of rows, trained, on the CPU, in float32 or float64, which {name!r} is not"
    if len(dtypes := {str(p.dtype)[6:] for p in model.parameters()}) > 1:
        return f"numbers of one type, not {' and '.join(sorted(dtypes))}"
    return None if all(p.requires_grad for p in model.parameters()) else "all parameters to be trained"


class FusedDot:
    """Trains a dot model batch by batch inside one compiled loop; the state of the optimizer is kept in torch's, under
    the same names, so that either engine goes on where the other stopped.

    Args:
        model: trained in place.
        settings: how.
        optimizer: what `settings.make_optimizer` made; no step of it is called.
    """

    def __init__(self, model: DotModel, settings: TrainingSettings, optimizer: torch.optim.Optimizer) -> None:
        self.model, self.settings, self.optimizer = model, settings, optimizer
        tables = _tables(model)
        self.program = Program(tables, {name: name for name in tables})
        self.parameters = [*self.program.parameters, *([] if model.mean is None else [model.mean])]
        self.kind, self.names = _KINDS[settings.optimizer]
        self.dense = settings.optimizer == "adam"
        self._brought = [
            torch.zeros(len(p) if p.dim() else 1, dtype=torch.int32) for p in (self.parameters if self.dense else [])
        ]

    def run(self, users: Tensor, items: Tensor, targets: Tensor, before: int, rates: Sequence[float]) -> Tensor:
        """Train on these ratings, in this order, and return predictions less targets.

        Args:
            before: steps that the optimizer has taken.
            rates: learning rate of each step, before the scale of a group.

        Raises:
            IndexError: an id out of range; nothing has changed then.
        """
        from coset.kernels.compile import announce
        from coset.kernels.dot import train_dot

        announce()
        program, size = self.program, self.settings.batch_size
        dtype = program.dtype
        for table, ids in ((self.model.user, users), (self.model.item, items)):
            check_ids(table, ids)
        targets = targets.to(program.computed).contiguous()
        gaps = np.empty(len(targets), dtype)
        mean = -1 if self.model.mean is None else len(self.parameters) - 1
        arrays = np.array([[0, *_shape(p), NARROW.get(p.dtype, layout.WIDE)] for p in self.parameters], np.int64)
        program.addresses()
        program.check()
        arrays[:, layout.ADDRESS] = [p.data_ptr() for p in self.parameters]
        given = torch.stack([users.long(), items.long()]).numpy()
        done = len(rates)
        tasks, uses = self._tasks(min(size, len(targets)))
        last, _ = self._tasks(len(targets) - (done - 1) * size)
        train_dot(
            given, targets.numpy(), min(size, len(targets)), self._choices(), self.model.biases is not None,
            self.dense, self.kind, program.template, program.pieces, program.parts, arrays, program.several,
            program.most_parts, program.widest_projected, tasks, last, uses, self._states(before),
            before, self._numbers(), *self._schedule(before, rates), mean, gaps,
        )  # fmt: skip
        torch.autograd.graph.increment_version(self.parameters)
        for parameter in self.parameters:
            state = self.optimizer.state[parameter]
            if "step" in state:
                state["step"].fill_(before + done)
        return torch.from_numpy(gaps)

    def _choices(self) -> np.ndarray:
        model, settings = self.model, self.settings
        sigmoid = model.settings.output == "sigmoid"
        width = model.settings.embedding_dim
        return np.array([model.low, model.high, model.unit, settings.l2, sigmoid, width], np.float64)

    def _tasks(self, batch: int) -> tuple[np.ndarray, np.ndarray]:
        """One task an array: a single thread works through them."""
        number = len(self.program.features)
        shape = self.program.frame(tuple(range(number)), (batch,) * number).shape
        tasks = shape.tasks[shape.tasks[:, layout.REMAINDER] == 0]
        tasks[:, layout.CHUNKS] = 1
        return tasks, shape.uses

    def _states(self, before: int) -> np.ndarray:
        """Where the optimizer's states are; they are made on the first step, as torch makes them."""
        group_of = {id(p): n for n, group in enumerate(self.optimizer.param_groups) for p in group["params"]}
        lines = np.zeros((len(self.parameters), layout.STATE_COLUMNS), np.int64)
        for number, parameter in enumerate(self.parameters):
            state = self.optimizer.state[parameter]
            if self.names and self.names[0] not in state:
                state["step"] = torch.zeros((), dtype=torch.float32)
                state |= {name: torch.zeros_like(parameter, requires_grad=False) for name in self.names}
            for column, name in zip((layout.STATE, layout.OTHER), self.names, strict=False):
                lines[number, column] = state[name].data_ptr()
            lines[number, layout.GROUP] = group_of[id(parameter)]
            if self.dense:
                lines[number, layout.BROUGHT] = self._brought[number].fill_(before).data_ptr()
        return lines

    def _numbers(self) -> np.ndarray:
        from coset.kernels.updates import numbers_of

        return numbers_of(self.settings.eps, *_BETAS, float(np.finfo(self.program.dtype).eps))

    def _schedule(self, before: int, given: Sequence[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Rates and paces by group and step, roots by step, and no decay."""
        scales = np.array([[group["scale"]] for group in self.optimizer.param_groups])
        rates = scales * list(given)
        number = np.arange(before + 1, before + len(given) + 1)
        return rates, rates / (1 - _BETAS[0] ** number), (1 - _BETAS[1] ** number) ** -0.5, np.ones_like(rates)


def _tables(model: DotModel) -> dict[str, TableModule]:
    """The tables that kernels read, in the order in which they want them: vectors of both sides, then biases."""
    sides = model.user.name, model.item.name
    return {
        f"{what}.{side}": collection.tables[side]
        for what, collection in (("embeddings", model.embeddings), ("biases", model.biases))
        if collection is not None
        for side in sides
    }


def _shape(parameter: Tensor) -> tuple[int, int]:
    return (len(parameter) if parameter.dim() == 2 else 1), (parameter.shape[-1] if parameter.dim() else 1)
