"""flowkit.fit: arrays to a fitted flow, as `flowkit train` fits it."""

from __future__ import annotations

import io
import pickle
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

import flowkit
from flowkit import presets
from flowkit.errors import DataError, DataWarning, FlowkitError, InputError, InterruptedWarning, SpecError
from flowkit.fitted import FittedFlow
from flowkit.plugin import Arrays, Dataset, DatasetConfig
from flowkit.spec import read_spec
from flowkit.train import report, train
from flowkit.train.step import Fitting
from tests.train.conftest import SPEC

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, 200)
X = RNG.normal(size=(200, 2)) * [1, 20] + LABELS[:, None] * [3, 0]
CONDITIONAL = {**SPEC, "context": {"classes": 2}}


@pytest.fixture(scope="module")
def fitted() -> FittedFlow:
    return flowkit.fit(X, LABELS, CONDITIONAL, epochs=3)


# What is returned


def test_arrays_give_arrays_and_tensors_tensors(fitted: FittedFlow) -> None:
    scores = fitted.log_prob(X, LABELS)
    assert isinstance(scores, np.ndarray) and scores.shape == (200,) and scores.dtype == np.float32
    x = torch.tensor(X, requires_grad=True)
    tensors = fitted.log_prob(x, torch.tensor(LABELS))
    np.testing.assert_allclose(tensors.detach().numpy(), scores, rtol=1e-5)
    tensors.sum().backward()
    assert x.grad is not None and x.grad.dtype == torch.float64
    assert isinstance(fitted.sample(3, context=1), np.ndarray)
    assert isinstance(fitted.sample(3, context=torch.tensor(1)), torch.Tensor)
    np.testing.assert_array_equal(fitted.score(X, LABELS), -scores)
    assert fitted.log_prob(X[:0], LABELS[:0]).shape == (0,)


def test_one_context_or_one_for_each_event(fitted: FittedFlow) -> None:
    np.testing.assert_allclose(fitted.log_prob(X, 1), fitted.log_prob(X, np.ones(200, np.uint16)))
    assert fitted.sample((5, 2), context=[0, 1]).shape == (5, 2, 2)
    np.testing.assert_array_equal(fitted.sample(2, 1, seed=3), fitted.sample(2, [1, 1], seed=3))


SETS = LABELS[:, None, None] + RNG.normal(size=(200, 6, 2))


def test_contexts_of_several_vectors_are_sets_unless_a_spec_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.warns(
        DataWarning, match=r"shape \[6, 2\] are taken for sets.*spec=flowkit\.presets\.nsf\(\[2\], context="
    ):
        fitted = flowkit.fit(X, SETS, epochs=1)
    assert fitted.spec.context.encoder.name == "encoder/deep_set"
    np.testing.assert_allclose(fitted.log_prob(X, SETS[:, ::-1]), fitted.log_prob(X, SETS), rtol=1e-4, atol=1e-5)
    one = fitted.log_prob(X, SETS[3])
    np.testing.assert_allclose(one, fitted.log_prob(X, np.repeat(SETS[3:4], 200, 0)), rtol=1e-4, atol=1e-5)
    monkeypatch.setattr("flowkit.fitted.result.AT_ONCE", 64)
    np.testing.assert_allclose(fitted.log_prob(X, SETS[3]), one, rtol=1e-4, atol=1e-5)
    assert fitted.sample((5, 3), SETS[:3]).shape == (5, 3, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sequence = presets.maf(2, context=[6, 2], encoder={"use": "encoder/gru"}, layers=2, hidden=8)
        assert flowkit.fit(X, SETS, sequence, epochs=1).spec.context == sequence.context


def test_parts_are_scored_as_the_whole(fitted: FittedFlow, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fitted.log_prob(X, LABELS)
    monkeypatch.setattr("flowkit.fitted.result.AT_ONCE", 14)
    np.testing.assert_allclose(fitted.log_prob(X, LABELS), whole, rtol=1e-5)


def test_the_history_has_a_row_an_epoch(fitted: FittedFlow) -> None:
    assert [row["epoch"] for row in fitted.history] == [1, 2, 3]
    best = min(fitted.history, key=lambda row: row["val"])
    assert fitted.best_epoch == best["epoch"]


def test_it_is_shown_as_text_and_in_notebooks(fitted: FittedFlow) -> None:
    text = repr(fitted)
    assert "event: {shape: [2]}" in text and "context: {classes: 2}" in text and "after epoch" in text
    assert "1 × coupling glow/affine" in text
    assert "train: {epochs: 3, batch_size: 40, optimizer: {lr: 0.01}}" in text
    shown = fitted._repr_html_()
    assert shown.count("<tr>") == 7 and "src='data:image/png;base64,iVBOR" in shown


def test_it_can_be_pickled(fitted: FittedFlow) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.log_prob(X, LABELS), fitted.log_prob(X, LABELS))
    assert again.history == fitted.history


# How it is fitted


def test_it_is_fitted_as_a_run_is(tmp_path: Path) -> None:
    """The weights are those of `flowkit train`, bit for bit."""
    parts = {
        "train": Arrays(X[20:], LABELS[20:]),
        "val": Arrays(X[:20], LABELS[:20]),
        "test": Arrays(X[:20], LABELS[:20]),
    }

    class Given(Dataset):
        def load(self, part: Any) -> Arrays:
            return parts[part]

    flowkit.register("mine/given", DatasetConfig, Given)
    spec = read_spec({**CONDITIONAL, "data": {"use": "mine/given"}})
    train(spec, tmp_path / "run")
    fitted = flowkit.fit(X[20:], LABELS[20:], spec, validation=(X[:20], LABELS[:20]))
    weights = load_file(tmp_path / "run" / "weights.safetensors")
    assert weights.keys() == fitted.flow.state_dict().keys()
    assert all(torch.equal(value, weights[name]) for name, value in fitted.flow.state_dict().items())
    assert fitted.spec.data is None and fitted.spec.train == spec.train


def test_python_is_left_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    threads = torch.get_num_threads()
    flowkit.fit(X, spec=SPEC, epochs=1, threads=2)
    assert torch.rand(1) == expected
    assert torch.get_num_threads() == threads
    assert capfd.readouterr().out == ""  # a line for each epoch would be in the way of a script's own output


def test_x_may_be_an_array_a_tensor_or_a_list() -> None:
    array, tensor, nested = (flowkit.fit(x, spec=SPEC, epochs=1) for x in (X, torch.tensor(X), X.tolist()))
    assert isinstance(tensor.sample(2), torch.Tensor)
    assert isinstance(array.sample(2), np.ndarray) and isinstance(nested.sample(2), np.ndarray)
    assert array.history[0]["train"] == tensor.history[0]["train"] == nested.history[0]["train"]


def test_a_preset_is_made_for_the_data() -> None:
    fitted = flowkit.fit(RNG.integers(0, 11, (60, 3)), RNG.normal(size=(60, 4)), "maf", epochs=1)
    assert fitted.spec.event.levels == 11 and fitted.spec.context is not None and fitted.spec.context.shape == (4,)
    assert read_spec(presets.maf(3, context=4, levels=11, hidden=32).model_dump(mode="json")).flow == fitted.spec.flow
    assert fitted.sample(5, np.zeros(4)).dtype == np.uint8
    assert np.isfinite(fitted.score(fitted.sample(5, np.zeros(4)), np.zeros(4), draws=2)).all()
    with pytest.raises(InputError, match=r"use score\(x\)"):
        fitted.log_prob([[1, 2, 3]], np.zeros(4))


def test_a_spec_says_how_many_classes_there_are() -> None:
    fitted = flowkit.fit(X, LABELS * 0, {**CONDITIONAL, "context": {"classes": 3}}, epochs=1)
    assert fitted.classes == {"0": 1.0, "1": 0.0, "2": 0.0}


def test_training_follows_the_number_of_events_unless_it_is_said() -> None:
    without = {name: value for name, value in SPEC.items() if name != "train"}
    chosen = flowkit.fit(X, spec=without, epochs=1, lr=0.5).spec.train
    assert (chosen.batch_size, chosen.ema, chosen.epochs, chosen.optimizer.lr) == (64, 0.5, 1, 0.5)
    assert chosen.validate_every == 1 and chosen.warmup == 0
    said = flowkit.fit(X, spec=SPEC, epochs=1, optimizer={"name": "adam"}, lr=0.5).spec.train
    assert (said.batch_size, said.optimizer.name, said.optimizer.lr) == (40, "adam", 0.5)
    sgd = {**SPEC, "train": {"epochs": 1, "optimizer": {"name": "sgd"}}}
    assert flowkit.fit(X, spec=sgd, lr=1e-4).spec.train.optimizer.name == "sgd"
    timed = flowkit.fit(X, spec=without, minutes=1e-4).spec.train
    assert timed.epochs is None and timed.minutes == 1e-4
    timed = flowkit.fit(X, spec={**SPEC, "train": {"batch_size": 40}}, minutes=1e-4).spec.train
    assert timed.epochs is None and timed.batch_size == 40


def test_a_spec_is_trained_as_its_printed_text_is() -> None:
    for spec in (presets.maf(2, layers=1), read_spec({**SPEC, "train": {"batch_size": 40}})):
        once, again = (flowkit.fit(X, spec=given, minutes=1e-4).spec for given in (spec, str(spec)))
        assert once == again and str(once) == str(again)


def test_weights_are_the_best_in_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    figures, seen = [4.0, 3.0, 1.0, 2.0], []

    def evaluate(flow: Any, *_: Any) -> float:
        seen.append({name: value.clone() for name, value in flow.state_dict().items()})
        return figures[len(seen) - 1]

    monkeypatch.setattr("flowkit.train.fit.evaluate", evaluate)
    fitted = flowkit.fit(X, spec=SPEC, epochs=4)
    assert fitted.best_epoch == 3 and [row["val"] for row in fitted.history] == figures
    same = [
        all(torch.equal(value, weights[name]) for name, value in fitted.flow.state_dict().items()) for weights in seen
    ]
    assert same == [False, False, True, False]


def interrupted_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let Ctrl-C be typed at the beginning of a step."""
    original = Fitting.training_step

    def training_step(self: Fitting, batch: Any) -> None:
        if self.global_step == step:
            raise KeyboardInterrupt
        original(self, batch)

    monkeypatch.setattr(Fitting, "training_step", training_step)


@pytest.mark.parametrize("every", [1, 3])
def test_an_interruption_keeps_the_best_so_far(monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    expected = flowkit.fit(X, spec=SPEC, epochs=2, schedule="constant", batch_size=60)
    interrupted_at(monkeypatch, 7)  # in the middle of the third epoch: an epoch has three steps
    with pytest.warns(InterruptedWarning, match="interrupted after 2 whole epochs: these are the best weights so far"):
        fitted = flowkit.fit(X, spec=SPEC, epochs=9, schedule="constant", batch_size=60, validate_every=every)
    assert len(fitted.history) == 2 and fitted.history[1]["val"] == expected.history[1]["val"]
    assert np.array_equal(fitted.log_prob(X), expected.log_prob(X))


def test_an_interruption_of_the_first_epoch_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted_at(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        flowkit.fit(X, spec=SPEC, epochs=2, batch_size=60)


# What is refused


@pytest.mark.parametrize(
    ("arguments", "fields", "says"),
    {
        "text": ((np.array([["a"]]),), {}, "x must hold real numbers"),
        "objects": ((X.astype(object),), {}, r"got dtype object: convert it, with x.astype\(float\)"),
        "ragged": (([[1, 2], [3]],), {}, "x is not an array"),
        "flat": ((X[:, 0],), {}, r"x has shape \[200\]: .*x\[:, None\]"),
        "nothing": ((X[:0],), {}, "there are no events"),
        "a number": ((3.0,), {}, r"x has shape \[\]: there are no events"),
        "empty events": ((X[:, :0],), {}, r"x has shape \[200, 0\]: there are no values in an event"),
        "a number for contexts": ((X, 1), {}, "context has one value for 200 events"),
        "empty contexts": ((X, X[:, :0]), {}, r"context has shape \[200, 0\]: there are no values in a context"),
        "NaN": ((np.where(X > 20, np.nan, X),), {}, "x: row .* holds NaN"),
        "constant": ((np.ones((20, 2)),), {}, "every event is the same"),
        "negative": ((np.arange(-20, 20).reshape(20, 2),), {}, "levels begin at 0"),
        "a missing class": (
            (X, ["a", None] * 100),
            {},
            "context has texts, and None in row 1: give each event a class",
        ),
        "fewer contexts": ((X, LABELS[1:]), {}, "context has 199 rows for 200 events"),
        "one number": ((X, X[:, 0]), {}, "context holds one float an event"),
        "one class": ((X, LABELS * 0), {}, "labels are 0 … k - 1"),
        "preset": ((X, None, "nsff"), {}, "there is no preset 'nsff'.*: presets are glow, maf"),
        "no file": ((X, None, "nsff.yaml"), {}, "nsff.yaml"),
        "not a spec": ((X, None, 3), {}, "a spec is a file's path"),
        "no context": ((X, LABELS, SPEC), {}, r"the spec has no context.*classes"),
        "missing context": ((X, None, CONDITIONAL), {}, "x: there is no context"),
        "other shape": ((X[:, [0, 1, 1]], None, SPEC), {}, r"x: events have shape \[3\]; the spec's event is \[2\]"),
        "integers": ((LABELS[:, None] * [1, 2], None, SPEC), {}, "x: events are int64.*set event.levels"),
        "unknown field": ((X,), {"epocs": 3}, r"train.epocs: unknown field 'epocs'(.|\n)*epochs"),
        "wrong value": ((X,), {"epochs": 0}, "train.epochs"),
        "wrong rate": ((X,), {"lr": -1}, "train.optimizer.lr"),
        "wrong optimizer": ((X,), {"optimizer": "adam", "lr": 1}, "train.optimizer"),
        "share": ((X,), {"validation": 1.0}, "validation is 1.0: give a share between 0 and 1"),
        "whole": ((X,), {"validation": 20}, "validation is 20: give a share"),
        "numpy's share": ((X,), {"validation": np.float32(2)}, "give a share between 0 and 1"),
        "one value": ((X,), {"validation": np.array(0.1)}, "the validation data: there are no events"),
        "empty tuple": ((X,), {"validation": ()}, "validation has 0 entries"),
        "four": ((X,), {"validation": (X, X, X, X)}, "validation has 4 entries"),
        "other validation": ((X,), {"validation": X[:, :1]}, r"the validation data: events have shape \[1\]"),
        "labels and names": (
            (X, LABELS),
            {"validation": (X, LABELS.astype(str))},
            "the labels of x are numbers, and those of validation are texts: give one kind",
        ),
        "names and labels": (
            (X, LABELS.astype(str)),
            {"validation": (X, LABELS)},
            "the labels of x are texts, and those of validation are numbers: give one kind",
        ),
        "a path for validation": ((X,), {"validation": "x.csv"}, "the validation data: x is 'x.csv', no data"),
        "one name": ((X, ["a"] * 200, CONDITIONAL), {}, "labels from 0 to 0: labels are 0 … k - 1"),
        "one event": ((X[:1],), {}, "every event is the same|validation"),
    }.values(),
)
def test_what_cannot_be_fitted(arguments: tuple[Any, ...], fields: dict[str, Any], says: str) -> None:
    with pytest.raises(FlowkitError, match=says) as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        flowkit.fit(*arguments, **{"epochs": 1, **fields})
    assert isinstance(caught.value, InputError | DataError | SpecError)


def test_doubts_are_warnings() -> None:
    with pytest.warns(DataWarning, match="floats, but whole numbers"):
        flowkit.fit(np.round(X), spec=SPEC, epochs=1)
    with pytest.warns(DataWarning, match="context: values up to .*: standardize them"):
        flowkit.fit(X, X * 100, {**SPEC, "context": {"shape": [2]}}, epochs=1)


def test_a_notebook_has_a_bar_if_it_can_draw_one(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Console(force_jupyter=True)
    monkeypatch.setattr(report, "find_spec", lambda name: None)
    assert not report.shows_bars(notebook)
    monkeypatch.setattr(report, "find_spec", lambda name: object())
    assert report.shows_bars(notebook)
    assert not report.shows_bars(Console(force_terminal=False))


def test_a_pipe_that_takes_colours_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = Console(file=io.StringIO())
    assert console.is_terminal and not report.shows_bars(console)


def test_noise_does_not_depend_on_how_arrays_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    integers = np.random.default_rng(0).integers(0, 4, (60, 2))
    spec = {"flowkit": 1, "event": {"shape": [2], "levels": 4}, "flow": [{"use": "glow/actnorm"}]}
    fitted = flowkit.fit(integers, spec=spec, epochs=1)
    by_class = flowkit.fit(integers, integers[:, 0] % 2, "nsf", epochs=1)
    whole = fitted.score(integers, draws=2), by_class.score(integers), by_class.posterior(integers)
    monkeypatch.setattr("flowkit.fitted.result.AT_ONCE", 14)
    parts = fitted.score(integers, draws=2), by_class.score(integers), by_class.posterior(integers)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_events_are_checked_without_a_class_as_with_one() -> None:
    x, labels = np.random.default_rng(0).integers(0, 17, (60, 1, 4, 4)), np.arange(60) % 2
    spec = presets.glow([1, 4, 4], classes=2, levels=17, layers=1, hidden=4)
    fitted = flowkit.fit(x, labels, spec, epochs=1)
    refused: dict[str, tuple[Any, Any]] = {
        "x ranges from 500": (x[:3] * 0 + 500, 1),
        "x ranges from -7 to -7": (x[:3] * 0 - 7, 1),
        "integer data are whole numbers": (x[:3] / 16, 1),
        r"x has shape \[4, 4\]; this flow takes \[batch, 1, 4, 4\]": (x[0, 0], 1),
        r"x has shape \[2, 16\]": (x[:2].reshape(2, 16), 1),
        r"x has shape \[\]": (3, 1),
        r"draws must be from 1 to .*, got 0": (x[:3], 0),
        "draws must be an integer": (x[:3], 1.5),
    }
    for message, (events, draws) in refused.items():
        for call in (fitted.score, partial(fitted.score, context=0), fitted.posterior):
            with pytest.raises(InputError, match=message):
                call(events, draws=draws)


def test_samples_of_one_class_are_of_the_kind_of_the_data() -> None:
    fitted = flowkit.fit(torch.randn(60, 2), torch.arange(60) % 2, epochs=1)
    assert isinstance(fitted.sample(3, context=1), torch.Tensor)
    assert isinstance(fitted.sample(3, context=np.ones(3, int)), np.ndarray)


def test_whole_numbers_are_points_of_a_continuous_flow() -> None:
    fitted = flowkit.fit(RNG.normal(size=(60, 2)), RNG.normal(size=(60, 1)), "maf", epochs=1, progress=False)
    expected = fitted.log_prob([[1.0, 0.0]], [2.0])
    for whole in ([[1, 0]], np.array([[1, 0]]), torch.tensor([[1, 0]])):
        with torch.no_grad():
            assert np.array_equal(fitted.log_prob(whole, [2]), expected)
            assert np.array_equal(fitted.score(whole, [2]), -expected)
    assert np.array_equal(fitted.log_prob(np.longdouble([[1, 0]]), np.longdouble([2])), expected)
    with pytest.raises(InputError, match="complex64"):
        fitted.log_prob(torch.tensor([[1, 1j]]), [2.0])
    with pytest.raises(InputError, match=r"integer data has no density at a point: use score\(x\)"):
        flowkit.fit(RNG.integers(0, 9, (60, 2)), spec="maf", epochs=1, progress=False).log_prob([[1, 0]])
