"""What the hints ask for, and where they keep silent."""

import math

import pytest
import torch
from torch import nn

from flowkit.testing.hints import hint

EXPECTED = torch.tensor([1.3, -0.4, 2.9], dtype=torch.float64)
NOTHING = nn.Identity()


@pytest.mark.parametrize(
    ("given", "question"),
    [
        (EXPECTED.float().double(), "rounded to fp32"),
        (EXPECTED + torch.tensor(math.log(2)).double() - math.log(2), "rounded to fp32"),
        (EXPECTED + 3e-7, "rounded to fp32"),  # of a sum of 24 values
        (torch.tensor([1.3, math.nan, 2.9]), "absolute value"),
        (EXPECTED.sum().expand(3), "every row has the sum over the batch"),
        (-EXPECTED, "the sign is wrong"),
    ],
)
def test_a_known_mistake_is_asked_for(given, question):
    assert question in hint(given, EXPECTED, (4, 3, 2), NOTHING)


def test_a_singular_jacobian_is_the_map_s_fault():
    singular = torch.tensor([1.3, -math.inf, 2.9])
    assert "not invertible" in hint(EXPECTED, singular, (4, 3, 2), NOTHING)


def test_elements_have_no_rows_and_no_batch():
    assert hint(EXPECTED.sum().expand(3), EXPECTED, None, NOTHING) == ""


def test_nothing_is_said_of_an_unknown_mistake():
    assert hint(EXPECTED + torch.tensor([0.1, 0.7, 0.2]), EXPECTED, (4, 3, 2), NOTHING) == ""
