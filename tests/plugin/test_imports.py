"""A plugin's modules, and the libraries that they use, are imported as any others are: their tensors have values."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from flowkit.errors import ShapeError
from flowkit.flow import Flow, building
from flowkit.flow.building import count_parameters
from flowkit.spec import read_spec
from tests.plugin.sites import install

PLUGIN = """\
from flowkit import plugin
from flowkit.plugin import Descriptor, Ref, Use, hookimpl
from typing import Annotated

class Scale(plugin.BijectorConfig): pass

class Outer(plugin.BijectorConfig):
    inner: Annotated[Use, Ref("bijector")]

class Constant(plugin.ConditionerConfig): pass

class Shift(plugin.TransformerConfig): pass

class Base(plugin.BaseConfig): pass

class Halves(plugin.SplitConfig):
    def split_shapes(self, event):
        return 2 * ((event[0] // 2,),)

@hookimpl
def flowkit_register_bijectors():
    return [Descriptor("scale", Scale, "flowkit_scale:Target"), Descriptor("outer", Outer, "flowkit_outer:Target")]

@hookimpl
def flowkit_register_conditioners():
    return [Descriptor("constant", Constant, "flowkit_constant:Target")]

@hookimpl
def flowkit_register_transformers():
    return [Descriptor("shift", Shift, "flowkit_shift:Target")]

@hookimpl
def flowkit_register_splits():
    return [Descriptor("halves", Halves, "flowkit_halves:Target")]

@hookimpl
def flowkit_register_bases():
    return [Descriptor("base", Base, "flowkit_normal:Target")]
"""

TARGETS = {
    "scale": """
class Target(bijectors.Bijector):
    def __init__(self, event_shape):
        super().__init__(event_shape)
        IN_INIT
        self.log_a = nn.Parameter(torch.zeros(event_shape))

    def forward_and_log_det(self, x, context=None):
        return x * self.log_a.exp() * library().ONE, self.log_a.sum().expand(x.shape[0])

    def inverse_and_log_det(self, y, context=None):
        return y / self.log_a.exp() / library().ONE, -self.log_a.sum().expand(y.shape[0])
""",
    "outer": """
class Target(bijectors.Bijector):
    def __init__(self, event_shape, inner):
        super().__init__(event_shape)
        IN_INIT
        self.inner = inner.build(event_shape)

    def forward_and_log_det(self, x, context=None):
        return self.inner.forward_and_log_det(x * library().ONE, context)

    def inverse_and_log_det(self, y, context=None):
        return self.inner.inverse_and_log_det(y, context)
""",
    "constant": """
class Target(bijectors.Conditioner):
    def __init__(self, kept_shape, params_shape, context_shape):
        super().__init__()
        IN_INIT
        self.theta = nn.Parameter(torch.zeros(params_shape))

    def forward(self, kept, context=None):
        return (self.theta * library().ONE).expand(kept.shape[0], *self.theta.shape)
""",
    "shift": """
class Target(bijectors.Transformer):
    n_params = 1

    def __init__(self):
        super().__init__()
        IN_INIT

    def forward(self, x, theta):
        return x + theta[:, 0] * library().ONE, torch.zeros_like(x)

    def inverse(self, y, theta):
        return y - theta[:, 0] * library().ONE, torch.zeros_like(y)
""",
    "halves": """
class Target(bijectors.Split):
    def __init__(self, event_shape):
        super().__init__(event_shape)
        IN_INIT

    def split(self, x):
        return tuple((x * library().ONE).chunk(2, 1))

    def merge(self, kept, transformed):
        return torch.cat([kept, transformed], 1)
""",
    "normal": """
class Target(StandardNormal):
    def __init__(self, event_shape):
        super().__init__(event_shape)
        IN_INIT

    def log_prob(self, z, context=None):
        return super().log_prob(z * library().ONE)
""",
}
"""A target of each kind that computes with the tensors of a library of its own."""

HEAD = (
    "import torch\nfrom torch import nn\nfrom flowkit import bijectors\nfrom flowkit.bijectors import StandardNormal\n"
)

LIBRARY = "import torch\nONE = torch.ones(())\nNET = torch.nn.Linear(2, 2)\n"

IMPORTS = {
    "with the module": ("import LIBRARY\n\ndef library():\n    return LIBRARY\n", "pass"),
    "in __init__": ("import sys\n\ndef library():\n    return sys.modules['LIBRARY']\n", "import LIBRARY"),
    "by a cache that __init__ fills": (
        "from functools import cache\n\n@cache\ndef library():\n"
        "    import LIBRARY\n    LIBRARY.ONE = torch.ones(())\n    return LIBRARY\n",
        "library()",
    ),
}
"""How a target's module gets at the library, and what its __init__ runs for that."""

SPEC = """\
flowkit: 1
event: {shape: [4]}
flow:
  - {use: far/outer, inner: {use: far/scale}}
  - {coupling: {use: far/shift}, conditioner: {use: far/constant}, split: {use: far/halves}}
base: {use: far/base}
"""


def bring(site: Path, imports: str) -> None:
    """A plugin of each kind, and a library for each of them, as a stranger's distribution would bring them."""
    install(site, "far", code=PLUGIN)
    head, in_init = IMPORTS[imports]
    for name, code in TARGETS.items():
        library = f"flowkit_library_of_{name}"
        (site / f"{library}.py").write_text(LIBRARY)
        text = (HEAD + head + code).replace("IN_INIT", in_init).replace("LIBRARY", library)
        (site / f"flowkit_{name}.py").write_text(text)


def devices() -> dict[str, set[str]]:
    """Return where the tensors of each library are, as far as it has been imported."""
    libraries = {name: sys.modules.get(f"flowkit_library_of_{name}") for name in TARGETS}
    return {name: {each.ONE.device.type, each.NET.weight.device.type} for name, each in libraries.items() if each}


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("imports", IMPORTS)
def test_a_flow_trains_whose_plugins_use_libraries_with_tensors(imports: str, counted: bool, site: Path) -> None:
    bring(site, imports)
    if counted:
        assert count_parameters(read_spec(SPEC)) == ([4, 2], [0], 0)
    flow = Flow.from_spec(SPEC)
    assert set(devices()) == set(TARGETS) and set().union(*devices().values()) == {"cpu"}
    optimizer, losses = torch.optim.SGD(flow.parameters(), 0.1), []
    for _ in range(3):
        loss = -flow.log_prob(torch.ones(8, 4)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > losses[1] > losses[2]


def test_a_layer_that_is_too_large_is_refused_before_it_has_values() -> None:
    mlp = "{coupling: {use: glow/affine}, conditioner: {use: glow/mlp, hidden: 40000, layers: 2}}"
    spec = read_spec(f"flowkit: 1\nevent: {{shape: [4]}}\nflow: [{mlp}]")
    with (
        torch.profiler.profile(profile_memory=True) as profile,
        pytest.raises(ShapeError, match=r"flow\[0\]: .*values"),
    ):
        count_parameters(spec)
    assert max(event.cpu_memory_usage for event in profile.events()) < 2**20


def test_a_constructor_may_create_tensors_in_every_way() -> None:
    created = [
        lambda: torch.full((2,), fill_value=1.0),
        lambda: torch.arange(end=5),
        lambda: torch.empty(size=(2, 3), memory_format=torch.contiguous_format),
        lambda: torch.rand(2, 3, generator=torch.Generator()),
        lambda: torch.zeros(2, out=torch.empty(2)),
        lambda: torch.zeros(3, layout=torch.sparse_coo),
        lambda: torch.vmap(lambda v: torch.zeros(3) + v)(torch.ones(2)),
        lambda: torch.jit.script(torch.nn.Linear(2, 2))(torch.ones(1, 2)),
        lambda: torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(3, 3)).weight,
    ]
    with building._Bounded():
        assert [each().device.type for each in created] == ["cpu"] * len(created)


def test_counting_leaves_the_weights_of_a_seed() -> None:
    spec = read_spec("flowkit: 1\nevent: {shape: [4]}\nflow: [{use: glow/conv1x1}]")
    torch.manual_seed(0)
    expected = torch.rand(())
    torch.manual_seed(0)
    count_parameters(spec)
    assert torch.rand(()) == expected


def test_a_device_context_of_the_caller_is_for_the_flow_not_for_modules(site: Path) -> None:
    bring(site, "with the module")
    with (site / "flowkit_far.py").open("a") as file:
        file.write("\nimport torch\nONE = torch.ones(())\n")
    with torch.device("meta"):
        flow = Flow.from_spec(SPEC)
    assert {p.device.type for p in flow.parameters()} == {"meta"}
    assert sys.modules["flowkit_far"].ONE.device.type == "cpu"
    assert set(devices()) == set(TARGETS) and set().union(*devices().values()) == {"cpu"}


def test_an_inference_mode_of_the_caller_is_not_for_modules(site: Path) -> None:
    bring(site, "with the module")
    with torch.inference_mode():
        Flow.from_spec(SPEC)
    libraries = [sys.modules[f"flowkit_library_of_{name}"] for name in TARGETS]
    assert not any(each.ONE.is_inference() or each.NET.weight.is_inference() for each in libraries)
