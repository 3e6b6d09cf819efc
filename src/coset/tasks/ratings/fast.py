"""`FastDot`: the kernel engine's own loop for a dot model, which trains many batches in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coset.engine.composed import NARROW, fusable
from coset.engine.program import Program
from coset.errors import InputError
from coset.kernels import layout
from coset.methods import TableModule
from coset.models.dot import DotModel, rated_table
from coset.models.history import Histories
from coset.storage import StoredRows
from coset.tables import check_ids
from coset.tasks.ratings.metrics import Errors
from coset.tasks.ratings.parts import RatingsPart
from coset.tasks.ratings.penalty import rarity, ridges, weights
from coset.tasks.rows import Running
from coset.tasks.settings import Order, TrainingSettings

_SETTLED = 1000
"""All rows that missed steps of dense Adam are brought up after this many batches of an epoch."""
_KINDS = {
    "sgd": (layout.SGD, (), 0.0),
    "adagrad": (layout.ADAGRAD, ("sum",), 1e-10),
    "adam": (layout.ADAM, ("exp_avg", "exp_avg_sq"), 1e-8),
    "lazy_adam": (layout.ADAM, ("exp_avg", "exp_avg_sq"), 1e-8),
}
_BETAS = 0.9, 0.999


def unfit(model: DotModel, settings: TrainingSettings) -> str | None:
    """What the loop needs and this model or training lacks; None where the loop can train it."""
    for name, module in _tables(model).items():
        if not fusable(module):
            return f"tables composed of rows, trained, on the CPU, in float32 or float64, which {name!r} is not"
    arrays = [stored for stored in model.modules() if isinstance(stored, StoredRows)]
    if any(view is None or view.form != "dense" for view in (stored.kernel_view() for stored in arrays)):
        return "tables stored as floats"
    found = {stored.dtype for stored in arrays}
    if len(found := found | ({model.mean.dtype} if model.mean is not None else set())) > 1:
        return f"numbers of one type, not {' and '.join(sorted(str(dtype)[6:] for dtype in found))}"
    if not all(p.requires_grad for p in model.parameters()):
        return "all parameters to be trained"
    if settings.optimizer not in _KINDS:
        return f"one of the optimizers {', '.join(_KINDS)}, not {settings.optimizer}"
    others = settings.dense_optimizer, settings.dense_learning_rate, settings.max_norm
    return (
        None
        if others == (None, None, None)
        else "no max_norm, and no separate optimizer for parameters other than tables"
    )


class FastDot:
    """Trains a dot model batch by batch inside one compiled loop.

    Between calls the state is that of torch's optimizer of the same name, under its names, so that plain torch can
    continue from it. Rows that miss steps of dense Adam are brought up when they are next read, or by `settle`: at
    every evaluation, and every 1,000 batches of an epoch. So results are the same bits however the batches are divided
    into calls.

    Args:
        model: trained in place.
        settings: of the training.
        training: the training part.
    """

    def __init__(self, model: DotModel, settings: TrainingSettings, training: RatingsPart) -> None:
        self.model, self.settings, self.training = model, settings, training
        tables = _tables(model)
        self.program = Program(tables, {name: name for name in tables})
        self.parameters = [*self.program.parameters, *([] if model.mean is None else [model.mean])]
        self.kind, self.names, own = _KINDS[settings.optimizer]
        self.dense = settings.optimizer == "adam"
        self._eps = own if settings.eps is None else settings.eps
        slow = {id(p) for module in model.modules() if isinstance(module, TableModule) for p in module.projections()}
        self._group = [int(id(p) in slow) for p in self.parameters]
        ordered = sorted(model.parameters(), key=lambda p: id(p) in slow)  # as torch's optimizer numbers them
        numbers = {id(p): number for number, p in enumerate(ordered)}
        self._keys = [f"torch.0.{numbers[id(p)]}" for p in self.parameters]
        self._scales = np.array([[1.0], [settings.projection_rate]])
        computed = self.program.computed
        self._state = [{name: torch.zeros(p.shape, dtype=computed) for name in self.names} for p in self.parameters]
        self._brought = [torch.zeros(len(p) if p.dim() else 1, dtype=torch.int32) for p in self.parameters]
        self.steps = self._begun = 0  # taken, and taken when all rows were last up to date
        self._paces: list[float] = []  # of the steps since then
        self._rarity = rarity(model, settings, computed)
        self._histories = None if model.histories is None else _unpacked(model.histories, self.program.dtype)

    def run(self, order: Order | None, first: int, paces: Sequence[float], running: Running) -> None:
        """Train on the batches of an epoch from number `first` on, one for each of `paces`.

        Raises:
            IndexError: an id is out of range; nothing has changed.
        """
        assert isinstance(running, Errors)
        ratings, size = self.training.ordered(order), self.settings.batch_size
        done = 0
        while done < len(paces):
            at = first + done
            count = min(len(paces) - done, _SETTLED - at % _SETTLED)
            part = ratings.take(slice(at * size, (at + count) * size))
            gaps = self._train(part.users, part.items, part.targets, paces[done : done + count])
            running.take(gaps.astype(np.float64), size)
            done += count
            if (at + count) % _SETTLED == 0:
                self.settle()

    def _train(self, users: Tensor, items: Tensor, targets: Tensor, paces: Sequence[float]) -> np.ndarray:
        from coset.kernels.compile import announce
        from coset.kernels.dot import train_dot

        announce()
        program, size = self.program, self.settings.batch_size
        for table, ids in ((self.model.user, users), (self.model.item, items)):
            check_ids(table, ids)
        targets = targets.to(program.computed).contiguous()
        gaps = np.empty(len(targets), program.dtype)
        self._paces += paces
        tasks, uses = self._tasks(min(size, len(targets)))
        last, _ = self._tasks(len(targets) - (len(paces) - 1) * size)
        train_dot(
            torch.stack([users.long(), items.long()]).numpy(), targets.numpy(), min(size, len(targets)),
            self._choices(), self._rarity, self.model.biases is not None, self.dense, self.kind, program.template,
            program.pieces, program.parts, self._arrays(), program.several, program.most_parts,
            program.widest_projected, tasks, last, uses, self._states(), self.steps, self._begun, self._numbers(),
            *self._schedule(), self._mean, gaps, *self._history(min(size, len(targets))),
        )  # fmt: skip
        torch.autograd.graph.increment_version(self.parameters)
        self.steps += len(paces)
        if not self.dense:
            self._begun, self._paces = self.steps, []
        return gaps

    def settle(self) -> None:
        """Bring all rows to the last step."""
        if self._begun == self.steps:
            return
        from coset.kernels.launch import SMALL, launch
        from coset.kernels.updates import bring_all

        launch(bring_all, SMALL, self._arrays(), self._states(), self.steps, self._begun, self._numbers(),
               *self._schedule()[1:], np.empty(0, self.program.dtype))  # fmt: skip
        torch.autograd.graph.increment_version(self.parameters)
        self._begun, self._paces = self.steps, []

    # -- resuming --------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """The state of torch's optimizer, by its names; the number of steps; and where rows are behind, the step of
        each row."""
        found = {f"{key}.{name}": value for key, of in zip(self._keys, self._state, strict=True)
                 for name, value in of.items()}  # fmt: skip
        if self.names:
            found |= {f"{key}.step": torch.tensor(float(self.steps)) for key in self._keys}
        found["fast.steps"] = torch.tensor([self.steps, self._begun])
        if self._begun < self.steps:
            found |= {f"fast.{key}": value for key, value in zip(self._keys, self._brought, strict=True)}
            found["fast.paces"] = torch.tensor(self._paces, dtype=torch.float64)
        return found

    @torch.no_grad()
    def restore(self, names: Iterable[str], tensor_of: Callable[[str], Tensor]) -> None:
        """Go back to a `state`, or to that of torch's optimizer.

        Raises:
            InputError: it is of another optimizer, or of other tables.
        """
        state = {name: tensor_of(name) for name in names}
        own = {name: value for name, value in self.state().items() if not name.startswith("fast.")}
        given = {name for name in state if not name.startswith("fast.")}
        if own.keys() != given or any(state[name].shape != value.shape for name, value in own.items()):
            raise InputError("the state to continue from is of another optimizer, or of other tables")
        for key, of in zip(self._keys, self._state, strict=True):
            for name, value in of.items():
                value.copy_(state[f"{key}.{name}"])
        taken = int(state[f"{self._keys[0]}.step"]) if self.names else 0
        self.steps, self._begun = map(int, state.get("fast.steps", torch.tensor([taken, taken])))
        behind = self._begun < self.steps
        self._paces = state["fast.paces"].tolist() if behind else []
        for key, brought in zip(self._keys, self._brought, strict=True):
            brought.copy_(state[f"fast.{key}"] if behind else torch.tensor(self.steps))

    # -- what kernels take -----------------------------------------------------------------------------------

    @property
    def _mean(self) -> int:
        return -1 if self.model.mean is None else len(self.parameters) - 1

    def _arrays(self) -> np.ndarray:
        self.program.addresses()
        self.program.check()
        arrays = np.array([[0, *_shape(p), NARROW.get(p.dtype, layout.WIDE)] for p in self.parameters], np.int64)
        arrays[:, layout.ADDRESS] = [p.data_ptr() for p in self.parameters]
        return arrays

    def _choices(self) -> np.ndarray:
        model, settings = self.model, self.settings
        sigmoid = model.settings.output == "sigmoid"
        width = model.settings.embedding_dim
        chosen = model.low, model.high, model.unit, *weights(settings), sigmoid, width, *ridges(settings)
        return np.array(chosen, np.float64)

    def _history(self, batch: int) -> tuple[Any, Any, Any]:
        """Histories, and room for those of a batch; three times None for a model without."""
        if self._histories is None:
            return None, None, None
        from coset.kernels.history import rooms_for

        sizes, dim = (self.model.user.num_embeddings, self.model.item.num_embeddings), self.model.settings.embedding_dim
        return self._histories, *rooms_for(batch, *sizes, dim, self.program.dtype)

    def _tasks(self, batch: int) -> tuple[np.ndarray, np.ndarray]:
        """One task for each array, as a single thread works through them."""
        number = len(self.program.features)
        shape = self.program.frames.frame(tuple(range(number)), (batch,) * number).shape
        tasks = shape.tasks[shape.tasks[:, layout.REMAINDER] == 0]
        tasks[:, layout.CHUNKS] = 1
        return tasks, shape.uses

    def _states(self) -> np.ndarray:
        """The addresses of the states."""
        lines = np.zeros((len(self.parameters), layout.STATE_COLUMNS), np.int64)
        for number, state in enumerate(self._state):
            for column, name in zip((layout.STATE, layout.OTHER), self.names, strict=False):
                lines[number, column] = state[name].data_ptr()
            lines[number, layout.GROUP] = self._group[number]
            if self.dense:
                lines[number, layout.BROUGHT] = self._brought[number].data_ptr()
        return lines

    def _numbers(self) -> np.ndarray:
        from coset.kernels.updates import numbers_of

        return numbers_of(self._eps, *_BETAS, float(np.finfo(self.program.dtype).eps))

    def _schedule(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """For the steps since all rows were up to date: rates and paces by group and step, roots by step, and decays of
        1."""
        rates = self._scales * [self.settings.learning_rate * pace for pace in self._paces]
        number = np.arange(self._begun + 1, self._begun + len(self._paces) + 1)
        return rates, rates / (1 - _BETAS[0] ** number), (1 - _BETAS[1] ** number) ** -0.5, np.ones_like(rates)


def _tables(model: DotModel) -> dict[str, TableModule]:
    """The tables that kernels read, in their order: vectors of both sides, then biases, then vectors of items in
    histories."""
    sides = model.user.name, model.item.name
    found: dict[str, TableModule] = {
        f"{what}.{side}": collection.tables[side]
        for what, collection in (("embeddings", model.embeddings), ("biases", model.biases))
        if collection is not None
        for side in sides
    }
    if model.histories is not None and model.embeddings is not None:
        name = rated_table(model.item).name
        found[f"embeddings.{name}"] = model.embeddings.tables[name]
    return found


def _unpacked(histories: Histories, dtype: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Histories as kernels take them; see `coset.kernels.history`."""
    found = histories.read(torch.arange(histories.sizes.users))
    counts = found.counts.numpy()
    each = np.divide(1.0, counts, out=np.zeros(len(counts)), where=counts > 0)
    begins = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    lengths = np.arange(int(counts.max(initial=0)) + 1)
    roots = np.divide(1.0, np.sqrt(lengths), out=np.zeros(len(lengths)), where=lengths > 0)
    return begins, found.items.numpy().astype(np.int32), roots.astype(dtype), each.astype(dtype)


def _shape(parameter: Tensor) -> tuple[int, int]:
    return (len(parameter) if parameter.dim() == 2 else 1), (parameter.shape[-1] if parameter.dim() else 1)
