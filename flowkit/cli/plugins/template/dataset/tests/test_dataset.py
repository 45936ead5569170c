import numpy as np
import pytest

from flowkit_NAME.dataset import NameDataset


@pytest.mark.parametrize(("split", "rows"), [("train", 100), ("val", 10), ("test", 10)])
def test_parts(split, rows):
    points = NameDataset(n=100).load(split).x
    assert points.shape == (rows, 2) and points.dtype == np.float32 and np.isfinite(points).all()
    np.testing.assert_array_equal(points, NameDataset(n=100).load(split).x)  # the same at each call


def test_no_event_is_in_two_parts():
    parts = [NameDataset(n=100).load(split).x for split in ("train", "val", "test")]
    assert len(np.unique(np.concatenate(parts), axis=0)) == 120
