"""`Optimizers`: kernels for the tables and an optimizer of torch for all else, stepped, clipped and saved as one."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import hypot, sqrt
from typing import Any

import torch
from torch import Tensor, nn

from coset.engine.composed import fusable
from coset.errors import InputError, UnownedTables, unknown
from coset.methods import TableModule
from coset.optimizers import SGD, Adagrad, Adam, RowWiseAdagrad, TableOptimizer
from coset.optimizers.snapshots import restore, snapshot
from coset.storage import StoredRows
from coset.tasks import TrainingSettings

_TABLES: dict[str, Callable[..., TableOptimizer]] = {
    "row_wise_adagrad": RowWiseAdagrad,
    "adagrad": Adagrad,
    "sgd": SGD,
    "lazy_adam": Adam,
    "adam": lambda *given, **options: Adam(*given, mode="dense", **options),
}
_PLAIN = {"adagrad": "Adagrad", "sgd": "SGD", "adam": "Adam"}
"""The counterpart in torch of each optimizer of tables."""
_NEAREST = {**_PLAIN, "row_wise_adagrad": "Adagrad", "lazy_adam": "Adam"}
"""The optimizer of all other parameters by default."""
_UNFIT = {"LBFGS": "calls the model several times a step", "SparseAdam": "takes sparse gradients only"}


class Optimizers:
    """The optimizers that train a model step by step.

    An optimizer of coset trains the tables that are composed of rows; one of torch trains the others (tensor trains,
    networks) and all other parameters, at its own learning rate. A model may have no tables of the first kind.

    Args:
        model: the model to train.
        settings: the choice of optimizers.
        fused: whether kernels train tables; otherwise torch's counterpart does.

    Raises:
        InputError: torch's optimizer has no such options, or torch has no counterpart of the optimizer of tables.
    """

    def __init__(self, model: nn.Module, settings: TrainingSettings, fused: bool = True) -> None:
        self.settings = settings
        tables = [m for m in model.modules() if isinstance(m, TableModule)]
        composed = [m for m in tables if fusable(m)]
        if len({stored.dtype for m in composed for stored in m.modules() if isinstance(stored, StoredRows)}) > 1:
            composed = []  # kernels compute in one type
        alone = settings.dense_optimizer is None and settings.dense_learning_rate is None  # one optimizer for all
        self.tables = _of_tables(model, settings) if composed and fused else None
        _check_codes(tables, composed if self.tables else [])
        if self.tables is None and (alone or (composed and not fused)) and settings.optimizer not in _PLAIN:
            raise _of_kernels_alone(settings)
        rest = self.tables.others(model) if self.tables else list(model.parameters())
        own = {id(p) for m in composed for p in m.parameters()} if self.tables is None else set()
        first, second = (rest, []) if alone else _parted(rest, own)
        slow = {id(p) for m in tables for p in m.projections()}
        self.others = [of_tables_in_torch(first, slow, settings)] if first else []
        if second:
            self.others.append(of_torch(second, settings))
        self._all = [*([self.tables] if self.tables else []), *self.others]
        self._rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in self._all]

    def step(self, pace: float) -> float | None:
        """One step at this share of the learning rates.

        Returns:
            The norm of all gradients before they were clipped; None where they are not clipped.

        Raises:
            FloatingPointError: a gradient is NaN or infinite.
        """
        for optimizer, rates in zip(self._all, self._rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * pace * group.get("scale", 1.0)
        norm = None if self.settings.max_norm is None else self._clip(self.settings.max_norm)
        for optimizer in self._all:  # tables first, which check their gradients before anything changes
            optimizer.step()
        for optimizer in self._all:
            optimizer.zero_grad()
        return norm

    def _clip(self, longest: float) -> float:
        gradients = [
            p.grad for o in self.others for group in o.param_groups for p in group["params"] if p.grad is not None
        ]
        outside = float(torch.nn.utils.get_total_norm(gradients)) if gradients else 0.0
        norm = hypot(outside, self.tables.gradient_norm() if self.tables else 0.0)
        if not norm < float("inf"):
            raise FloatingPointError(
                "a gradient is NaN or infinite, so this step was not taken and nothing has changed"
            )
        if (factor := longest / (norm + 1e-6)) < 1:
            if self.tables:
                self.tables.scale_gradients(factor)
            for gradient in gradients:
                gradient.mul_(factor)
        return norm

    # -- resuming --------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """All that further steps depend on besides the parameters, by name; not copies. Taking it changes nothing."""
        found = {f"tables.{name}": value for name, value in snapshot(self.tables).items()} if self.tables else {}
        for place, optimizer in enumerate(self.others):
            for number, state in optimizer.state_dict()["state"].items():
                for name, value in state.items():
                    if value is not None:
                        found[f"torch.{place}.{number}.{name}"] = torch.as_tensor(value)
        return found

    def restore(self, names: Iterable[str], tensor_of: Callable[[str], Tensor]) -> None:
        """Go back to a `state`; `tensor_of` gives its tensors by name.

        Raises:
            InputError: it is of other optimizers, or of a loop of kernels that stopped with rows behind.
        """
        given = set(names)
        own = {name.removeprefix("tables.") for name in given if name.startswith("tables.")}
        if bool(own) != (self.tables is not None) or "fast.paces" in given:
            raise InputError("the state to continue from is of another optimizer, or of other tables")
        if self.tables:
            restore(self.tables, own, lambda name: tensor_of(f"tables.{name}"))
        for place, optimizer in enumerate(self.others):
            state: dict[int, dict[str, Tensor]] = {}
            for name in sorted(given):
                owner, _, rest = name.partition(".")
                at, _, rest = rest.partition(".")
                if owner == "torch" and at == str(place):
                    number, _, key = rest.partition(".")
                    state.setdefault(int(number), {})[key] = tensor_of(name).clone()
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _parted(parameters: Iterable[nn.Parameter], own: set[int]) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters of composed tables, which plain torch trains here, and all others."""
    given = list(parameters)
    return [p for p in given if id(p) in own], [p for p in given if id(p) not in own]


def _of_kernels_alone(settings: TrainingSettings) -> InputError:
    names = ", ".join(map(repr, _PLAIN))
    return InputError(
        f"optimizer {settings.optimizer!r} is of the fused engine alone, and plain torch would train this model; take "
        f"one of {names}"
    )


def _check_codes(tables: Sequence[TableModule], by_kernels: Sequence[TableModule]) -> None:
    """Raise an `InputError` where a table has no floats that torch could train, and kernels do not train it."""
    for module in tables:
        arrays = (each for each in module.modules() if isinstance(each, StoredRows))
        if not any(module is each for each in by_kernels) and any(array.needs_kernels for array in arrays):
            raise InputError(
                f"table {module.table.name!r}: its codes have no masters, and are trained by kernels alone, in tables "
                f"composed of rows on the CPU; choose engine 'fused' or 'auto' there, or a storage with masters"
            )


def _of_tables(model: nn.Module, settings: TrainingSettings) -> TableOptimizer:
    eps = {} if settings.eps is None or settings.optimizer == "sgd" else {"eps": settings.eps}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnownedTables)  # `others` are trained separately
        return _TABLES[settings.optimizer](
            model, settings.learning_rate, projection_scale=settings.projection_rate, **eps
        )


def of_tables_in_torch(
    parameters: Sequence[nn.Parameter], slow: set[int], settings: TrainingSettings
) -> torch.optim.Optimizer:
    """Torch's counterpart of the kernels' optimizer, or the nearest one.

    Args:
        slow: ids of parameters that are projections.
    """
    groups = [
        {"params": [p for p in parameters if (id(p) in slow) == is_slow], "scale": scale}
        for is_slow, scale in ((False, 1.0), (True, settings.projection_rate))
    ]
    filled = [group for group in groups if group["params"]]
    options: dict[str, Any] = {}
    if settings.eps is not None and settings.optimizer != "sgd":
        options["eps"] = settings.eps
    name = _NEAREST[settings.optimizer]
    options |= _raised_eps(getattr(torch.optim, name), options, parameters)
    if name == "Adam":
        options["fused"] = True  # several times as fast as torch's own choice on the CPU
    made: torch.optim.Optimizer = getattr(torch.optim, name)(filled, lr=settings.learning_rate, **options)
    return made


def _raised_eps(optimizer: type, options: Mapping[str, Any], parameters: Sequence[nn.Parameter]) -> dict[str, float]:
    """The `eps` for parameters of a type in which the squares of small numbers are 0, as they are in float16 below
    2^-12: with less, a gradient that small, or none, would be divided by next to nothing."""
    usual = inspect.signature(optimizer).parameters.get("eps")
    eps = options.get("eps", None if usual is None else usual.default)
    least = max(
        (sqrt(torch.finfo(p.dtype).smallest_normal * torch.finfo(p.dtype).eps) for p in parameters), default=0.0
    )
    return {"eps": least} if isinstance(eps, float) and eps < least else {}


def of_torch(parameters: Sequence[nn.Parameter], settings: TrainingSettings) -> torch.optim.Optimizer:
    """The optimizer of torch that `settings` name for all parameters but tables, with their options.

    Raises:
        InputError: torch has no such optimizer, or it has no such options.
    """
    known: Mapping[str, Any] = {
        name: of
        for name, of in vars(torch.optim).items()
        if isinstance(of, type) and issubclass(of, torch.optim.Optimizer) and of is not torch.optim.Optimizer
    }
    wanted = settings.dense_optimizer or _NEAREST[settings.optimizer]
    name = {name.lower(): name for name in known}.get(wanted.lower())
    if name is None:
        raise unknown("optimizer of torch (training: dense_optimizer)", wanted, known)
    if name in _UNFIT:
        raise InputError(f"training: dense_optimizer {name} {_UNFIT[name]}; take another")
    options = dict(settings.dense_options)
    if "fused" in inspect.signature(known[name]).parameters and not {"fused", "foreach"} & options.keys():
        options["fused"] = True  # several times as fast as torch's own choice on the CPU
    options |= _raised_eps(known[name], options, parameters)
    try:
        made: torch.optim.Optimizer = known[name](parameters, lr=settings.dense_rate, **options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"training: dense_options of {name}: {error}") from None
    return made
