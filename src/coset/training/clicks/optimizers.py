"""`Optimizers`: kernels for the tables, an optimizer of torch's for all else, stepped, clipped and saved as one."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import hypot
from typing import Any

import torch
from torch import Tensor, nn

from coset.engine.program import fusable
from coset.errors import InputError, UnownedTables, unknown
from coset.methods import TableModule
from coset.optimizers import SGD, Adagrad, Adam, RowWiseAdagrad, TableOptimizer
from coset.optimizers.snapshots import restore, snapshot
from coset.training.clicks.settings import ClickTrainingSettings

_TABLES: dict[str, Callable[..., TableOptimizer]] = {
    "row_wise_adagrad": RowWiseAdagrad,
    "adagrad": Adagrad,
    "sgd": SGD,
    "lazy_adam": Adam,
    "adam": lambda *given, **options: Adam(*given, mode="dense", **options),
}
_PLAIN: dict[str, type[torch.optim.Optimizer]] = {
    "adagrad": torch.optim.Adagrad,
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
}
_UNFIT = {"LBFGS": "calls the model several times a step", "SparseAdam": "takes sparse gradients only"}


class Optimizers:
    """What trains a click model.

    Tables that are composed of rows go to an optimizer of coset's; those that are not (tensor trains, networks) go with
    all other parameters to one of torch's, at its learning rate. A collection without any of the first kind is fine.

    Args:
        model: whose parameters they train.
        settings: which they are.
        fused: whether kernels train tables; otherwise the optimizer of torch's does that gives the same.

    Raises:
        InputError: options that the optimizer of torch's does not know, or plain torch has no such optimizer of tables.
    """

    def __init__(self, model: nn.Module, settings: ClickTrainingSettings, fused: bool = True) -> None:
        self.settings = settings
        modules = [m for m in model.modules() if isinstance(m, TableModule) and fusable(m)]
        self.tables = _of_tables(model, settings) if modules and fused else None
        plain = {} if fused else {id(p): p for m in modules for p in m.parameters()}
        rest = self.tables.others(model) if self.tables else list(model.parameters())
        self.others: list[torch.optim.Optimizer] = []
        if plain:
            self.others.append(_of_plain_tables(list(plain.values()), modules, settings))
        if kept := [p for p in rest if id(p) not in plain]:
            self.others.append(of_torch(kept, settings))
        self._all = [*([self.tables] if self.tables else []), *self.others]
        self._rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in self._all]

    def step(self, pace: float) -> float | None:
        """One step at this share of the learning rates.

        Returns:
            The norm of all gradients before they were clipped; None where they are not to be clipped.

        Raises:
            FloatingPointError: a gradient is NaN or infinite.
        """
        for optimizer, rates in zip(self._all, self._rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * pace
        norm = None if self.settings.max_norm is None else self._clip(self.settings.max_norm)
        for optimizer in self._all:  # tables first: their gradients are checked before anything changes
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
        """Go back to a `state`; `tensor_of` gives its tensors by name."""
        given = set(names)
        if self.tables:
            own = [name.removeprefix("tables.") for name in given if name.startswith("tables.")]
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


def _of_tables(model: nn.Module, settings: ClickTrainingSettings) -> TableOptimizer:
    eps = {} if settings.eps is None else {"eps": settings.eps}
    if settings.optimizer == "sgd":
        eps = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnownedTables)  # `others` are trained beside
        return _TABLES[settings.optimizer](
            model, settings.learning_rate, projection_scale=settings.projection_rate, **eps
        )


def _of_plain_tables(
    parameters: Sequence[nn.Parameter], modules: Iterable[TableModule], settings: ClickTrainingSettings
) -> torch.optim.Optimizer:
    """The optimizer of torch's that gives what kernels give."""
    if settings.optimizer not in _PLAIN:
        names = ", ".join(map(repr, _PLAIN))
        raise InputError(f"optimizer {settings.optimizer!r} is of the fused engine alone; plain torch has {names}")
    slow = {id(p) for module in modules for p in module.projections()}
    groups = [
        {"params": [p for p in parameters if (id(p) in slow) == is_slow], "lr": settings.learning_rate * scale}
        for is_slow, scale in ((False, 1.0), (True, settings.projection_rate))
    ]
    options: dict[str, Any] = {} if settings.eps is None or settings.optimizer == "sgd" else {"eps": settings.eps}
    made: Any = _PLAIN[settings.optimizer]
    return made([group for group in groups if group["params"]], **options)  # type: ignore[no-any-return]


def of_torch(parameters: Sequence[nn.Parameter], settings: ClickTrainingSettings) -> torch.optim.Optimizer:
    """The optimizer of torch's that `settings` name, with their options.

    Raises:
        InputError: torch has no such optimizer, or it has no such options.
    """
    known: Mapping[str, Any] = {
        name: of
        for name, of in vars(torch.optim).items()
        if isinstance(of, type) and issubclass(of, torch.optim.Optimizer) and of is not torch.optim.Optimizer
    }
    name = {name.lower(): name for name in known}.get(settings.dense_optimizer.lower())
    if name is None:
        raise unknown("optimizer of torch (training: dense_optimizer)", settings.dense_optimizer, known)
    if name in _UNFIT:
        raise InputError(f"training: dense_optimizer {name} {_UNFIT[name]}; take another")
    options = dict(settings.dense_options)
    if "fused" in inspect.signature(known[name]).parameters and not {"fused", "foreach"} & options.keys():
        options["fused"] = True  # several times as fast as torch's own choice on the CPU
    try:
        made: torch.optim.Optimizer = known[name](parameters, lr=settings.dense_learning_rate, **options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"training: dense_options of {name}: {error}") from None
    return made
