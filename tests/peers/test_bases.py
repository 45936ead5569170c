"""flowkit's weights in the base distributions of normflows and zuko: the same densities, in fp64."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from flowkit.bijectors import Base
from flowkit.testing import BaseSubject
from flowkit_base.class_conditional_normal import ClassConditionalNormal
from flowkit_base.diagonal_normal import DiagonalNormal
from flowkit_base.gaussian_mixture import GaussianMixture
from tests.peers.bases import WITNESSES

pytestmark = pytest.mark.slow

SAME = 1e-12
"""The largest difference between two that compute the same, in fp64, absolute."""
SUBJECTS: dict[str, BaseSubject] = {
    "diagonal": BaseSubject(lambda: DiagonalNormal((3,))),
    "mixture": BaseSubject(lambda: GaussianMixture((3,), 4)),
    "class": BaseSubject(lambda: ClassConditionalNormal((2, 3), (4,)), context_shape=(4,), labels=True),
}


@pytest.fixture(scope="module")
def differences(tmp_path_factory: pytest.TempPathFactory, in_peers_environment: Callable[..., str]) -> dict[str, float]:
    path: Path = tmp_path_factory.mktemp("peers") / "bases.npz"
    arrays: dict[str, np.ndarray] = {}
    for name, subject in SUBJECTS.items():
        base: Base = subject.module()
        call = subject.calls(base, 20)[0]
        with torch.no_grad():
            given = {"z": call.inputs[0], "log_prob": call(base)["log p of log_prob"], **base.state_dict()}
        given |= {"context": call.inputs[1]} if subject.labels else {}
        arrays |= {f"{name}/{key}": value.numpy() for key, value in given.items()}
    np.savez(path, **arrays)
    return json.loads(in_peers_environment("tests.peers.bases", path))


@pytest.mark.parametrize("name", WITNESSES)
def test_same_weights_same_density(name: str, differences: dict[str, float]) -> None:
    assert differences[name] < SAME, f"{name}: {differences[name]:.1e} from flowkit's"
