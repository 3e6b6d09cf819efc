"""The suite shown able to fail: one sound method passes it, and every broken copy of it fails at the right check."""

import pytest
import torch
import torch.nn.functional as F

from coset import tables
from coset.methods import registered
from coset.testing import CHECKS, Case, check_method, uncovered
from coset.testing.cases import ROOMY
from tests.testing.mutants import MUTANTS, CountsARowTooFew, LosesItsOperation, Sound


@pytest.fixture
def registering(monkeypatch):
    """Registers a method class under the name `mutant` for the time of a test."""

    def enter(kind):
        kind.name, kind.version = "mutant", 1
        monkeypatch.setitem(registered(), "mutant", kind)
        return kind

    return enter


def fails(check, kind):
    """The suite stops at this check and names it."""
    with pytest.raises(AssertionError, match=rf"^{check}: {kind.__name__}\("):
        check_method(kind, only=[check])


def test_the_sound_method_passes_and_nothing_is_left_changed(registering):
    threads = torch.get_num_threads()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    check_method(registering(Sound))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), before)


def test_all_checks_are_run_by_default(registering):
    with pytest.raises(AssertionError, match=r"^json_is_the_method: LosesItsOperation\("):
        check_method(registering(LosesItsOperation))


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(name, registering):
    check, kind = MUTANTS[name]
    registering(kind)
    fails(check, kind)


def test_a_variant_without_an_example_is_caught(registering):
    class ShowsNoSum(Sound):
        @classmethod
        def examples(cls, table):
            return [example for example in super().examples(table) if example.operation == "mult"]

    assert uncovered(registering(ShowsNoSum)) == ["operation='add'"]
    with pytest.raises(AssertionError, match="operation='add'"):
        check_method(ShowsNoSum)


# -- what tables own -----------------------------------------------------------------------------------------


def test_a_bag_composed_after_pooling_is_caught(registering, monkeypatch):
    def forward(self, input, offsets=None, per_sample_weights=None):
        ids, offsets = self._bags(input, offsets)
        pooled = [
            F.embedding_bag(
                part.partition(ids), self._module._rows(part).weight, offsets, mode=self.mode,
                per_sample_weights=per_sample_weights, include_last_offset=self.include_last_offset,
            )
            for part in self._module.composition.parts
        ]  # fmt: skip
        return pooled[0] * pooled[1] if self.method.operation == "mult" else pooled[0] + pooled[1]

    monkeypatch.setattr(tables.EmbeddingBag, "forward", forward)
    fails("a_bag_is_the_pool_of_its_items", registering(Sound))


def test_weights_left_out_are_caught(registering, monkeypatch):
    forward = tables.EmbeddingBag.forward

    def unweighted(self, input, offsets=None, per_sample_weights=None):
        return forward(self, input, offsets)

    monkeypatch.setattr(tables.EmbeddingBag, "forward", unweighted)
    fails("weights_scale_the_items_of_a_sum", registering(Sound))


def test_weights_without_a_gradient_are_caught(registering, monkeypatch):
    forward = tables.EmbeddingBag.forward

    def detached(self, input, offsets=None, per_sample_weights=None):
        return forward(self, input, offsets, None if per_sample_weights is None else per_sample_weights.detach())

    monkeypatch.setattr(tables.EmbeddingBag, "forward", detached)
    fails("bag_gradients_are_those_of_the_values", registering(Sound))


def test_an_unchecked_id_is_caught(registering, monkeypatch):
    monkeypatch.setattr(tables.owner, "check_ids", lambda table, ids: None)
    fails("wrong_ids_are_refused", registering(Sound))
    fails("integer_types_agree", Sound)
    fails("forty_million_ids", Sound)


def test_an_id_error_that_does_not_name_the_table_is_caught(registering, monkeypatch):
    def check_ids(table, ids):
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < table.num_embeddings:
            raise IndexError(f"id {int(ids.max())} or {int(ids.min())} not in 0 … {table.num_embeddings - 1}")

    monkeypatch.setattr(tables.owner, "check_ids", check_ids)
    fails("wrong_ids_are_refused", registering(Sound))


def test_a_padding_id_that_reads_is_caught(registering, monkeypatch):
    monkeypatch.setattr(tables.Embedding, "_vectors", lambda self, ids: self._module.lookup(ids.long()))
    fails("padding_reads_no_parameter", registering(Sound))


def test_a_padding_row_asked_of_the_order_is_caught(registering, monkeypatch):
    vectors = tables.Embedding._vectors

    def asking(self, ids):
        if self.padding_idx is not None and self._order is not None and self._order[self.padding_idx].item() < 0:
            return vectors(self, ids.abs())
        return vectors(self, ids)

    monkeypatch.setattr(tables.Embedding, "_vectors", asking)
    fails("compiles_whole", registering(Sound))


def test_options_that_are_swallowed_are_caught(registering, monkeypatch):
    init = tables.Embedding.__init__

    def swallow(self, *arguments, max_norm=None, scale_grad_by_freq=False, **options):
        init(self, *arguments, **options)

    monkeypatch.setattr(tables.Embedding, "__init__", swallow)
    fails("options_of_bare_rows", registering(Sound))


# -- the suite itself ----------------------------------------------------------------------------------------


def test_every_check_has_a_promise_and_is_shown_to_fail():
    shown = {check for check, _ in MUTANTS.values()}
    by_tables = {
        "a_bag_is_the_pool_of_its_items",
        "weights_scale_the_items_of_a_sum",
        "bag_gradients_are_those_of_the_values",
        "wrong_ids_are_refused",
        "integer_types_agree",
        "padding_reads_no_parameter",
        "options_of_bare_rows",
    }
    assert shown | by_tables == set(CHECKS)
    assert all(check.promise and check.tables for check in CHECKS.values())


def test_a_failure_says_what_where_and_why(registering):
    registering(MUTANTS["CountsARowTooFew"][1])
    case = Case(ROOMY, CountsARowTooFew(250))
    with pytest.raises(AssertionError) as caught:
        CHECKS["components_are_the_stored_tensors"](case)
    for word in ("components_are_the_stored_tensors", "CountsARowTooFew(num_buckets=250", "'roomy'", "(3, 16)"):
        assert word in str(caught.value)
