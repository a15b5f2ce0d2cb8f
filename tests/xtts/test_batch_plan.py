"""Batch plans: few shapes, little padding, every clip once an epoch, an order of seed and epoch alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from xtts.data.batch_plan import BatchPlan


def clip_lengths(count: int = 300, seed: int = 0) -> list[tuple[int, int]]:
    frames = np.clip(np.exp(np.random.default_rng(seed).normal(4.5, 0.8, size=count)), 20, 1250).astype(int)
    return [(max(3, int(length) // 6), int(length)) for length in frames]


LENGTHS = clip_lengths()


def plan(shapes: int = 4, frames_in_batch: int = 3_000, seed: int = 0, lengths=LENGTHS) -> BatchPlan:
    return BatchPlan(lengths, shapes, frames_in_batch, seed)


def epoch(of: BatchPlan, number: int):
    begin = number * of.batches_in_epoch
    return [of.batch(index) for index in range(begin, begin + of.batches_in_epoch)]


@pytest.mark.parametrize("shapes", [1, 2, 4, 7])
def test_there_are_as_many_shapes_as_asked_for_and_no_more(shapes):
    batches = [*epoch(plan(shapes), 0), *epoch(plan(shapes), 5)]
    assert len({batch.shape for batch in batches}) == shapes == len(plan(shapes).shapes)


def test_clips_of_one_length_need_one_shape():
    assert len(plan(4, lengths=[(5, 50)] * 9).shapes) == 1


def test_every_clip_fits_its_batch_and_comes_in_every_epoch():
    for number in (0, 3):
        batches = epoch(plan(), number)
        assert {clip for batch in batches for clip in batch.clips} == set(range(len(LENGTHS)))
        for batch in batches:
            assert len(batch.clips) == len(set(batch.clips)) == batch.shape.batch_size
            assert all(LENGTHS[clip][0] <= batch.shape.tokens for clip in batch.clips)
            assert all(LENGTHS[clip][1] <= batch.shape.frames for clip in batch.clips)


def test_a_batch_has_no_more_frames_than_asked_for():
    assert all(batch.shape.batch_size * batch.shape.frames <= 3_000 for batch in epoch(plan(), 0))
    assert all(shape.batch_size == 1 for shape in plan(frames_in_batch=1).shapes)


def test_more_shapes_pad_less():
    padded = [
        sum(batch.shape.batch_size * batch.shape.frames for batch in epoch(plan(shapes), 0)) for shapes in (1, 2, 4)
    ]
    assert padded == sorted(padded, reverse=True)
    assert padded[2] < 0.3 * padded[0]


def test_a_batch_follows_from_seed_and_number_alone():
    one, other = plan(seed=3), plan(seed=3)
    for number in (40, 7, 200, 7):
        assert one.batch(number) == other.batch(number)
    assert epoch(plan(seed=3), 0) != epoch(plan(seed=4), 0)


def test_epochs_differ_in_order_and_in_company():
    first, second = epoch(plan(), 0), epoch(plan(), 1)
    assert [batch.shape for batch in first] != [batch.shape for batch in second]
    assert {frozenset(batch.clips) for batch in first} != {frozenset(batch.clips) for batch in second}


def test_neighbours_differ_in_shape_over_the_end_of_an_epoch_too():
    of = plan()
    shapes = [of.batch(number).shape for number in range(4 * of.batches_in_epoch)]
    assert not any(one == other for one, other in pairwise(shapes))


def test_the_first_two_batches_differ_where_one_shape_has_nearly_all():
    lengths = [(5, 50)] * 100 + [(50, 500)]
    for seed in range(20):
        of = BatchPlan(lengths, 2, 500, seed)
        assert of.batch(0).shape != of.batch(1).shape
