"""One sound method, and broken copies of it, each with the check of the contract that it fails at."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isqrt
from typing import Literal, get_args

import torch
from torch import nn

from coset.errors import InfeasibleBudget, InputError
from coset.methods import Sizes
from coset.methods.composition import compose
from coset.methods.rows import RowMethod, RowModule
from coset.partitions import Partition, quotient, remainder

SOUND = RowModule


@dataclass(frozen=True)
class Sound(RowMethod):
    """A small quotient-remainder method; every mutant below is this one with a single thing wrong."""

    num_buckets: int
    operation: Literal["mult", "add"] = "mult"

    module = SOUND

    def composition(self, table):
        n, m = table.num_embeddings, self.num_buckets
        return compose(table, self.operation, [("quotient", quotient(m, n)), ("remainder", remainder(m))])

    def build(self, table):
        return self.module(table, self, self.composition(table))

    @classmethod
    def sizes(cls, table, **fixed) -> Sequence["Sound"]:
        n = table.num_embeddings
        least = isqrt(n - 1) + 1
        return Sizes(range(least, max(n // 2, least) + 1), lambda m: cls(m, **fixed))

    @classmethod
    def examples(cls, table):
        return [cls(max(1, -(-table.num_embeddings // 4)), o) for o in get_args(Literal["mult", "add"])]


MUTANTS = {}


def caught_by(check):
    def enter(kind):
        MUTANTS[kind.__name__] = (check, kind)
        return kind

    return enter


def method_of(module_class):
    """The sound method, building modules of this class."""
    return type(module_class.__name__, (Sound,), {"module": module_class, "__doc__": module_class.__doc__})


def module_caught_by(check):
    def enter(module_class):
        MUTANTS[module_class.__name__] = (check, method_of(module_class))
        return module_class

    return enter


# -- lookups -------------------------------------------------------------------------------------------------


@module_caught_by("shapes")
class FlattensIds(SOUND):
    def lookup(self, ids):
        return super().lookup(ids.reshape(-1))


@module_caught_by("shapes")
class CentresTheBatch(SOUND):
    def lookup(self, ids):
        vectors = super().lookup(ids)
        return vectors - vectors.sum() * 0.01


@module_caught_by("shapes")
class GivesDoubles(SOUND):
    def lookup(self, ids):
        return super().lookup(ids).double()


@module_caught_by("lookup_follows_the_descriptor")
class ReadsTheRowBeside(SOUND):
    def _row_of(self, part, ids):
        return (super()._row_of(part, ids) + 1) % part.rows


@module_caught_by("materialize_is_every_lookup")
class MaterializesTheFirstChunk(SOUND):
    def materialize(self, chunk=65536):
        whole = super().materialize().clone()
        whole[chunk:] = 0
        return whole


@module_caught_by("gradient_reaches_every_parameter")
class FreezesThroughDetach(SOUND):
    def _stored(self, name):
        rows = super()._stored(name)
        return (lambda ids: rows(ids).detach()) if name == "quotient" and not self.drawing else rows

    drawing = False

    def reset_parameters(self):
        self.drawing = True
        super().reset_parameters()
        self.drawing = False


class _Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, vectors):
        return vectors.clone()

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


@module_caught_by("gradients_are_those_of_the_values")
class DoublesTheGradient(SOUND):
    def lookup(self, ids):
        return _Doubled.apply(super().lookup(ids))


@module_caught_by("forty_million_ids")
class DividesFloats(SOUND):
    def _row_of(self, part, ids):
        if part.name == "remainder":
            return super()._row_of(part, ids)
        return (ids.float() / part.partition.divisor).long().clamp(max=part.rows - 1)


@dataclass(frozen=True)
class FloatPartition(Partition):
    def __call__(self, ids):
        rows = ids / self.divisor
        rows = int(rows) if isinstance(ids, int) else rows.long() if torch.is_tensor(ids) else rows.astype("int64")
        return rows % self.modulus


@caught_by("partitions_are_exact")
class DescribesFloats(Sound):
    def composition(self, table):
        sound = super().composition(table)
        first, second = sound.parts
        part = replace(first, partition=FloatPartition(first.partition.divisor, first.partition.modulus))
        return replace(sound, parts=(part, second))


@module_caught_by("thread_count_does_not_matter")
class MindsItsThreads(SOUND):
    def lookup(self, ids):
        return super().lookup(ids) * (1 + 1e-6 * torch.get_num_threads())


@module_caught_by("thread_count_does_not_matter")
class MindsItsThreadsBackwards(SOUND):
    def lookup(self, ids):
        vectors = super().lookup(ids)
        if vectors.requires_grad:
            vectors.register_hook(lambda gradient: gradient * (1 + 1e-6 * torch.get_num_threads()))
        return vectors


@module_caught_by("compiles_whole")
class AsksForAValue(SOUND):
    def lookup(self, ids):
        return super().lookup(ids) if ids.sum().item() >= 0 else super().lookup(ids.abs())


@caught_by("choices_fit_the_table")
class ShowsWhatDoesNotFit(Sound):
    def check(self, table):
        if self.num_buckets > 20:
            raise InputError(f"table {table.name!r}: at most 20 buckets, not {self.num_buckets}")


# -- what is stored ------------------------------------------------------------------------------------------


@caught_by("components_are_the_stored_tensors")
class CountsARowTooFew(Sound):
    def components(self, table):
        first, *others = super().components(table)
        return [replace(first, rows=max(1, first.rows - 1)), *others]


@caught_by("components_are_the_stored_tensors")
class CountsHalfTheBytes(Sound):
    def bytes(self, table):
        return super().bytes(table) // 2


@module_caught_by("components_are_the_stored_tensors")
class HidesATable(SOUND):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.register_buffer("rows", torch.arange(self.table.num_embeddings), persistent=False)


@module_caught_by("components_are_the_stored_tensors")
class StoresAnIndexUncounted(SOUND):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.register_buffer("rows", torch.arange(self.table.num_embeddings))


@caught_by("components_are_closed_form")
class CountsThroughTheIds(Sound):
    def components(self, table):
        torch.empty(table.num_embeddings, 8)
        return super().components(table)


@caught_by("json_is_the_method")
class LosesItsOperation(Sound):
    def to_json(self):
        value = super().to_json()
        del value["operation"]
        return value


@caught_by("json_is_the_method")
class WritesWhatJsonCannot(Sound):
    def to_json(self):
        return super().to_json() | {"num_buckets": torch.tensor(self.num_buckets)}


@module_caught_by("state_saves_and_reloads")
class KeepsAScaleOutOfItsState(SOUND):
    def reset_parameters(self):
        super().reset_parameters()
        self.scale = float(torch.rand(())) + 0.5

    def lookup(self, ids):
        return super().lookup(ids) * self.scale


@caught_by("sizes_rise_to_full")
class GrowsBeyondFull(Sound):
    @classmethod
    def sizes(cls, table, **fixed):
        n = table.num_embeddings
        return Sizes(range(isqrt(n - 1) + 1, 2 * n + 1), lambda m: cls(m, **fixed))


@caught_by("sizes_rise_to_full")
class RisesAndFalls(Sound):
    @classmethod
    def sizes(cls, table, **fixed):
        sizes = super().sizes(table, **fixed)
        return [sizes[0], sizes[-1], sizes[len(sizes) // 2]]


@caught_by("sizes_rise_to_full")
class ForgetsWhatWasFixed(Sound):
    @classmethod
    def sizes(cls, table, **fixed):
        return super().sizes(table)


@caught_by("a_budget_is_kept")
class Overshoots(Sound):
    @classmethod
    def for_budget(cls, table, max_bytes, **fixed):
        chosen = super().for_budget(table, max_bytes, **fixed)
        return replace(chosen, num_buckets=chosen.num_buckets + 1)


@caught_by("a_budget_is_kept")
class TakesTheSmallest(Sound):
    @classmethod
    def for_budget(cls, table, max_bytes, **fixed):
        super().for_budget(table, max_bytes, **fixed)
        return cls.sizes(table, **fixed)[0]


@caught_by("a_budget_is_kept")
class NeverRefusesABudget(Sound):
    @classmethod
    def for_budget(cls, table, max_bytes, **fixed):
        try:
            return super().for_budget(table, max_bytes, **fixed)
        except InfeasibleBudget:
            return cls.sizes(table, **fixed)[0]


@caught_by("a_budget_is_kept")
class NamesNoFloor(Sound):
    @classmethod
    def for_budget(cls, table, max_bytes, **fixed):
        try:
            return super().for_budget(table, max_bytes, **fixed)
        except InfeasibleBudget as error:
            raise InfeasibleBudget(f"table {table.name!r}: too small a budget", error.floor) from None


# -- values --------------------------------------------------------------------------------------------------


@module_caught_by("initial_deviation")
class DrawsPositiveValues(SOUND):
    def reset_parameters(self):
        super().reset_parameters()
        for parameter in self.parameters():
            parameter.data.abs_()


@module_caught_by("initial_deviation")
class DrawsTenPercentTooWide(SOUND):
    def reset_parameters(self):
        super().reset_parameters()
        next(self.parameters()).data.mul_(1.1 if self.method.operation == "mult" else 1.2)


@module_caught_by("same_seed_same_values")
class DrawsFromElsewhere(SOUND):
    def reset_parameters(self):
        generator = torch.Generator().manual_seed(random.SystemRandom().getrandbits(40))
        for part in self.composition.parts:
            nn.init.normal_(self._rows(part).weight, std=part.std, generator=generator)


@module_caught_by("same_seed_same_values")
class IgnoresTheSeed(SOUND):
    def reset_parameters(self):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            super().reset_parameters()


@module_caught_by("same_seed_same_values")
class ReadsOtherRowsUnderAnotherSeed(SOUND):
    def __init__(self, table, method, composition):
        super().__init__(table, method, composition)
        self.register_buffer("shift", torch.randint(1 << 40, ()))


@module_caught_by("fit_of_any_weight")
class BoastsOfItsFit(SOUND):
    def fit_(self, weight, frequencies=None):
        return 0.9 * super().fit_(weight, frequencies)


@module_caught_by("fit_of_any_weight")
class TellsTheUnweightedError(SOUND):
    def fit_(self, weight, frequencies=None):
        super().fit_(weight, frequencies)
        return float((self.materialize() - weight).double().pow(2).mean())


@module_caught_by("fit_of_any_weight")
class DoesNotFit(SOUND):
    def _fit(self, weight, share):
        pass


@module_caught_by("fit_finds_what_the_method_can_hold")
class FitsZeros(SOUND):
    def _fit(self, weight, share):
        for parameter in self.parameters():
            parameter.data.zero_()


@module_caught_by("fit_of_the_only_id_that_is_read")
class FitsAllIdsAlike(SOUND):
    def _fit(self, weight, share):
        super()._fit(weight, torch.ones_like(share) / len(share))
