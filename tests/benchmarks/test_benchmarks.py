"""The benchmarks run, at sizes that say nothing about speed; what they count and check is right."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from benchmarks import deployment, glow, groups, layers, measure, plot, report, splines
from benchmarks.check import density_error
from benchmarks.contender import Density
from benchmarks.cost import cost
from benchmarks.measure import Spread, interleave, ratios
from benchmarks.progress import Progress
from benchmarks.race import race
from tests.extent import extent

PEERLESS = ("limit", "limit, bf16", "flowkit", "flowkit, bf16", "flowkit, checkpoint")
TABLES = [pytest.param(module, id=module.__name__) for module in (glow, splines)]


@pytest.fixture(autouse=True, scope="module")
def no_pauses():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "PAUSE", 0)
        yield


@pytest.fixture(scope="module")
def rows(no_pauses):
    builders = {name: lambda name=name: glow.CONTENDERS[name](glow.TINY) for name in PEERLESS}
    builders["broken"] = lambda: 1 / 0
    columns = [("train", 2), ("log_prob", 3), ("sample", 3)]
    return race(builders, glow.batches(glow.TINY, torch.device("cpu")), columns, 2, Progress())


def test_every_contender_runs_every_column(rows):
    for name in PEERLESS:
        assert {column: len(s) for column, s in rows[name]["seconds"].items()} == {
            "train B=2": 2,
            "log_prob B=3": 2,
            "sample B=3": 2,
        }


def test_a_contender_that_fails_is_named_and_the_others_go_on(rows):
    assert rows["broken"] == {"seconds": {}, "failed": "ZeroDivisionError: division by zero"}
    assert "- broken: ZeroDivisionError" in report.table(rows)


def test_the_page_and_the_picture(rows, tmp_path):
    rows = json.loads(json.dumps(rows))  # as they come from the file
    group = {"environment": {"cpu": "a cpu"}, "rounds": 2}
    measured = {
        "glow": {**group, "rows": rows},
        "memory": {**group, "rows": {"8": rows}},
        "scale": {**group, "rows": {"batch": {"2": rows}}},
    }
    page = tmp_path / "speed.md"
    page.write_text(f"before\n{report.BEGIN}old{report.END}\nafter\n", "utf-8")
    report.write_section(page, report.report(measured))
    text = page.read_text("utf-8")
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| flowkit, checkpoint |" in text and "a cpu" in text
    plot.write(measured, tmp_path / "speed.svg")
    assert "<svg" in (tmp_path / "speed.svg").read_text("utf-8")


@pytest.mark.parametrize("module", TABLES)
def test_the_limit_has_the_networks_of_the_flow(module):
    """The same shapes in the same order, once flowkit's actnorms, 1×1 convolutions and log-scales are left out."""
    limit, flow = (module.CONTENDERS[name](module.TINY) for name in ("limit", "flowkit"))
    shapes = [p.shape for name, p in flow.module.named_parameters() if _of_a_plain_network(name)]
    assert [p.shape for p in limit.module.parameters()] == shapes


def _of_a_plain_network(name: str) -> bool:
    return ".conditioner." in name and not name.endswith("log_scale")


@pytest.mark.parametrize("module", TABLES)
def test_flowkit_computes_a_density(module):
    x = module.batches(module.TINY, torch.device("cpu"))(3)
    assert density_error(module.CONTENDERS["flowkit"](module.TINY), x) < 1e-9


@pytest.mark.parametrize(
    "peer", [(module, name) for module in (glow, splines) for name in module.ALIKE[1:]], ids=lambda p: p[1]
)
def test_peers_compute_a_density(peer):
    module, name = peer
    pytest.importorskip(name, reason=f"no {name} here: it is in the environment of `make bench`")
    x = module.batches(module.TINY, torch.device("cpu"))(3)
    assert density_error(module.CONTENDERS[name](module.TINY), x) < 1e-4  # FrEIA keeps a log-det in fp32


def test_single_layers_are_timed_and_reported(monkeypatch):
    """Each task that a layer has: those without parameters have no training step, and planar has no inverse."""
    monkeypatch.setattr(layers, "VALUES_A_STEP", 1)
    monkeypatch.setattr(layers, "BATCHES", {4: 3})
    monkeypatch.setattr(layers, "PEERS", ())
    (measured,) = groups.run_layers(groups.Run(1, torch.device("cpu"), Progress())).values()
    tasks = {name: len(rows["flowkit"]["seconds"]) for name, rows in measured.items()}
    assert not [name for name, rows in measured.items() if "failed" in rows["flowkit"]]
    assert tasks == {name: 3 for name in layers.OURS} | {
        name: 2 for name in ("permutation", "planar", "logit", "sigmoid", "exp", "softplus", "uniform")
    }
    for rows in measured.values():
        seconds = {column: [2 * each for each in own] for column, own in rows["flowkit"]["seconds"].items()}
        rows["a peer"] = {"seconds": seconds}
    monkeypatch.setattr(layers, "PEERS", ("a peer",))
    text = report.layers_text({"4": measured})
    assert text.count("a peer: 0.50") == sum(tasks.values()) and "| planar | a peer: 0.50 (0.50–0.50) |" in text


@pytest.mark.parametrize("peer", layers.PEERS)
def test_peers_layers_run(peer):
    pytest.importorskip(peer, reason=f"no {peer} here: it is in the environment of `make bench`")
    for name in layers.OURS:
        try:
            density = layers.contenders(name, 10)[peer]()
        except NotImplementedError:
            continue
        assert density.log_prob(layers.batch(10, 3)).shape == (3,)


def test_a_wrong_density_is_seen():
    scale = nn.Linear(3, 3, bias=False)

    def log_prob(x):  # forgets the determinant
        return -0.5 * scale(x).square().sum(1) - 1.5 * math.log(2 * math.pi)

    assert density_error(Density(scale, log_prob, latents=scale), torch.randn(2, 3)) > 0.1


def test_costs_are_those_of_a_step_that_can_be_counted_by_hand():
    layer = nn.Linear(1000, 10, bias=False)
    x = torch.randn(500, 1000, requires_grad=True)
    counted = cost(lambda: layer(x).exp().sum().backward(), layer)
    assert counted["saved"] == pytest.approx(4e-6 * (500 * 1000 + 500 * 10))  # the input, and exp's output
    assert counted["peak"] >= 4e-6 * (10 * 1000 + 500 * 1000)  # both gradients
    assert counted["peak"] < 4e-6 * (10 * 1000 + 500 * 1000 + 5 * 500 * 10)
    assert 10 < counted["operators"] < 100


def test_rounds_are_shuffled_and_ratios_are_those_of_the_same_round():
    ran = []
    steps = {name: lambda name=name: ran.append(name) for name in "abcd"}
    seconds = interleave(steps, 20, lambda: None)
    orders = {"".join(ran[i : i + 4]) for i in range(0, 80, 4)}
    assert len(orders) > 5 and all(sorted(order) == list("abcd") for order in orders)
    assert all(len(own) == 20 for own in seconds.values())
    assert ratios({"a": [2.0, 20.0, 4.0], "limit": [1.0, 10.0, 1.0]}, "limit")["a"] == Spread(2.0, 2.0, 3.0)


@pytest.mark.slow
def test_graphs_are_timed_beside_torch(monkeypatch):
    settings = extent({"glow": deployment.TINY["glow"]}, deployment.TINY)
    monkeypatch.setattr(deployment, "SETTINGS", settings)
    monkeypatch.setattr(groups, "PROCESSES", 2)
    names = ["torch", "onnxruntime", deployment.UNMERGED]
    results = groups.run_onnx(groups.Run(2, torch.device("cpu"), Progress(), tuple(names)))
    assert {name: list(measured["rows"]) for name, measured in results.items()} == {
        name: names if name in deployment.LAYERED else names[:2] for name in settings
    }
    for measured in results.values():
        for row in measured["rows"].values():
            assert "failed" not in row and [len(seconds) for seconds in row["seconds"].values()] == [2] * 6
        assert all(measured["rows"]["onnxruntime"]["bytes"].values()) and len(measured["first score"]) == 2
    text = report.onnx_text(json.loads(json.dumps(results)))
    assert text.count("of 2 processes") == len(settings) and "layers merged over time without: encode B=1 " in text


@pytest.mark.slow
def test_graphs_that_are_timed_give_what_torch_gives():
    spec = deployment.TINY["glow"]
    x = deployment.events(spec)(3)
    contenders = {name: deployment.CONTENDERS[name](spec) for name in ("torch", "onnxruntime", deployment.UNMERGED)}
    for contender in contenders.values():
        contender.start(x)
    for task in ("encode", "decode"):
        expected, *others = (contender.step(task, x)() for contender in contenders.values())
        for given in others:
            for value, other in zip(given, expected if task == "encode" else [expected], strict=True):
                torch.testing.assert_close(torch.from_numpy(value), other, atol=1e-4, rtol=1e-4)
    merged, unmerged = (contenders[name].bytes for name in ("onnxruntime", deployment.UNMERGED))
    assert merged["encode"] < unmerged["encode"] and merged["decode"] < unmerged["decode"]
