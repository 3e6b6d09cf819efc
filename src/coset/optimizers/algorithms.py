"""The optimizers: their state of a row, and their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from coset.engine.fused import FusedEngine
from coset.errors import InputError
from coset.kernels import layout
from coset.optimizers.base import TableOptimizer
from coset.settings import one_of
from coset.storage.pages import in_large_pages


class SGD(TableOptimizer):
    """Gradient descent: `row -= lr · gradient`; keeps nothing. See `TableOptimizer` for the arguments.

    Example:
        >>> from coset import EmbeddingBagCollection, Table
        >>> bags = EmbeddingBagCollection([(Table("movie", 20, 4), "full")])
        >>> optimizer = SGD(bags, lr=0.1)
        >>> bags({"movie": torch.tensor([1, 2, 2])})["movie"].sum().backward()
        >>> optimizer.step()
    """

    kind: ClassVar[int] = layout.SGD

    def __init__(self, module: nn.Module, lr: float = 1e-3, **options: Any) -> None:
        super().__init__(module, lr, **options)

    def _fresh_state(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
        return {}


class Adagrad(TableOptimizer):
    """Adagrad (Duchi, Hazan and Singer, 2011): each element has a step size of its own, as in `torch.optim.Adagrad`.
    See `TableOptimizer` for the arguments.

    Args:
        eps: added to the root of the sum of squares.
    """

    kind: ClassVar[int] = layout.ADAGRAD

    def __init__(self, module: nn.Module, lr: float = 1e-2, *, eps: float = 1e-10, **options: Any) -> None:
        super().__init__(module, lr, eps=eps, **options)

    def _fresh_state(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
        return {"sum": _zeros(*shape, dtype=dtype, device=device)}


class RowWiseAdagrad(TableOptimizer):
    """Adagrad with one number a row, the sum of the mean squares of its gradients (as "exact row-wise Adagrad" of
    FBGEMM; Mudigere et al., 2021, arXiv 2104.05158): its state is 1/dim of Adagrad's.

    Args:
        eps: added to the root of the sum.
    """

    kind: ClassVar[int] = layout.ROWWISE_ADAGRAD

    def __init__(self, module: nn.Module, lr: float = 1e-2, *, eps: float = 1e-8, **options: Any) -> None:
        super().__init__(module, lr, eps=eps, **options)

    def _fresh_state(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
        return {"sum": _zeros(shape[0], dtype=dtype, device=device)}


class Adam(TableOptimizer):
    """Adam (Kingma and Ba, 2014, arXiv 1412.6980), lazy or dense.

    * `mode="lazy"`: a step changes only the rows with a gradient, and their moments; the others wait.
    * `mode="dense"`: what `torch.optim.Adam` (`AdamW` with `weight_decay`) gives on dense gradients, where the moments
      of rows without a gradient decay and keep moving them. The steps that a row missed are computed when it is next
      read, so that a step still costs as much as its batch. They are computed in closed form, and no further than where
      a first moment has decayed to 1/1000 of the precision of the type; so results agree with torch's to a few
      roundings: 1e-9 in float64.

    Args:
        betas: decay of the two moments.
        eps: added to the root of the second moment.
        mode: `"lazy"` or `"dense"`.
    """

    kind: ClassVar[int] = layout.ADAM

    def __init__(
        self,
        module: nn.Module,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        mode: Literal["lazy", "dense"] = "lazy",
        **options: Any,
    ) -> None:
        self.dense = one_of("optimizer: mode", mode, ("lazy", "dense")) == "dense"
        super().__init__(module, lr, eps=eps, betas=betas, **options)

    def _check_forms(self, engines: Sequence[FusedEngine]) -> None:
        """Codes are rounded whenever they are stored, so rows without a gradient must not move in every step."""
        for engine in engines:
            for stored, parameter in zip(engine.program.stored, engine.program.parameters, strict=True):
                if self.dense and not parameter.is_floating_point():
                    raise InputError(
                        f"optimizer: codes without masters ({stored}) are trained by steps of the rows of a batch; "
                        f"give Adam(mode='lazy'), RowWiseAdagrad, Adagrad or SGD in place of Adam(mode='dense')"
                    )

    def _fresh_state(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
        state = {name: _zeros(*shape, dtype=dtype, device=device) for name in ("exp_avg", "exp_avg_sq")}
        if self.dense:
            state["brought"] = torch.zeros(shape[0], dtype=torch.int32, device=device)
        return state


def _zeros(*shape: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros in large pages, as rows are read at random."""
    found = in_large_pages(torch.empty(shape, dtype=dtype, device=device))
    return found.zero_()
