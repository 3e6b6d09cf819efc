"""The checks by name, and the one call that runs them all."""

from __future__ import annotations

from collections.abc import Collection

import torch

from coset.methods import Method
from coset.testing import engines, storage, values, vectors
from coset.testing.cases import uncovered
from coset.testing.check import Check

CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        vectors.shapes,
        vectors.lookup_follows_the_descriptor,
        vectors.materialize_is_every_lookup,
        vectors.gradient_reaches_every_parameter,
        vectors.gradients_are_those_of_the_values,
        vectors.a_bag_is_the_pool_of_its_items,
        vectors.weights_scale_the_items_of_a_sum,
        vectors.bag_gradients_are_those_of_the_values,
        vectors.integer_types_agree,
        vectors.wrong_ids_are_refused,
        vectors.padding_reads_no_parameter,
        vectors.options_of_bare_rows,
        storage.choices_fit_the_table,
        storage.components_are_the_stored_tensors,
        storage.components_are_closed_form,
        storage.json_is_the_method,
        storage.state_saves_and_reloads,
        storage.sizes_rise_to_full,
        storage.a_budget_is_kept,
        storage.partitions_are_exact,
        storage.forty_million_ids,
        values.initial_deviation,
        values.same_seed_same_values,
        values.fit_of_any_weight,
        values.fit_of_the_only_id_that_is_read,
        values.fit_finds_what_the_method_can_hold,
        engines.thread_count_does_not_matter,
        engines.compiles_whole,
    )
}
"""Every check of the contract by name."""


def check_method(kind: type[Method], only: Collection[str] = ()) -> None:
    """Hold a method to the whole contract, over every variant in its `examples`.

    Args:
        kind: the class of the method; registered, since its JSON must lead back to it.
        only: names of the checks to run; all of `CHECKS` by default.

    Raises:
        AssertionError: one sentence that names the check, the method, the table and what is wrong.

    Example:
        >>> from coset.methods import Full
        >>> check_method(Full, only=["shapes", "json_is_the_method"])  # all of them: check_method(Full)
    """
    if missing := uncovered(kind):
        raise AssertionError(f"examples: {kind.__name__}.examples leaves out {', '.join(missing)}")
    with torch.random.fork_rng(devices=[]):
        for name in only or CHECKS:
            for cases in CHECKS[name].cases(kind):
                CHECKS[name](*cases)
