"""A flow has one base distribution for each latent; they may read the context, and are sampled from noise."""

import pytest
import torch

from flowkit import Flow
from flowkit.bijectors import FactorOut, StandardNormal
from flowkit.domains import REALS, Interval
from flowkit.errors import InputError, ShapeError
from flowkit.spec import read_spec
from flowkit.testing import perturb
from flowkit_base.class_conditional_normal import ClassConditionalNormal
from flowkit_base.conditional_normal import ConditionalNormal
from flowkit_base.gaussian_mixture import GaussianMixture
from flowkit_base.student_t import StudentT
from flowkit_base.uniform import Uniform
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.mlp import MLP
from flowkit_glow.permute import Permute
from flowkit_map.interval import Logit, Sigmoid
from flowkit_runtime.noise import normal, uniform

LABELS = {"classes": 3}


def of_three_latents() -> Flow:
    torch.manual_seed(0)
    layers = [ActNorm((5,)), FactorOut((5,)), ActNorm((3,)), FactorOut((3,)), ActNorm((2,))]
    bases = [GaussianMixture((2,), 3), StudentT((1,)), ClassConditionalNormal((2,), (3,))]
    flow = Flow(layers, base=bases, context=LABELS)
    perturb(flow, 0.3)
    flow.initialized.fill_(True)
    return flow.eval().requires_grad_(False)


def test_noise_has_consecutive_streams_over_all_latents():
    flow, labels = of_three_latents(), torch.arange(6) % 3
    shapes = [((6,), uniform), ((6, 2), normal), ((6, 1), normal), ((6, 1), normal), ((6, 2), normal)]
    noise = [torch.from_numpy(draw(9, stream, shape)).float() for stream, (shape, draw) in enumerate(shapes)]
    mixture, student, by_class = flow.bases
    one_hot = torch.eye(3)[labels]
    latents = mixture.from_noise(noise[:2]), student.from_noise(noise[2:4]), by_class.from_noise(noise[4:], one_hot)
    assert torch.equal(flow.sample(6, labels, seed=9), flow.decode(latents, labels))


def test_temperature_scales_normal_noise_alone():
    flow = of_three_latents()
    warm, cold = (flow.encode(flow.sample(50, torch.tensor(1), temperature=t, seed=0), torch.tensor(1)) for t in (1, 0))
    means = flow.bases[0].mean
    chosen = (cold[0][:, None] - means).abs().amax(2)
    assert chosen.amin(1).max() < 1e-5 and len(chosen.argmin(1).unique()) == 3
    assert cold[1].abs().max() < 1e-5 and (cold[2] - flow.bases[2].mean[1]).abs().max() < 1e-5
    assert warm[1].abs().max() > 0.1


@pytest.mark.parametrize("seed", [None, 3])
def test_samples_without_a_seed_have_the_same_types(seed):
    flow = of_three_latents().double()
    assert flow.sample(4, torch.tensor(0), seed=seed).dtype == torch.float64


def test_log_prob_is_the_sum_over_the_latents():
    flow, labels = of_three_latents(), torch.arange(6) % 3
    x = torch.randn(6, 5)
    latents, log_det = flow.forward_and_log_det(x, labels)
    each = [base.log_prob(z, torch.eye(3)[labels]) for base, z in zip(flow.bases, latents, strict=True)]
    torch.testing.assert_close(flow.log_prob(x, labels), sum(each) + log_det)
    torch.testing.assert_close(flow.latent_log_prob(latents, labels), sum(each))
    torch.testing.assert_close(flow.freeze().log_prob(x, labels), flow.log_prob(x, labels))
    assert (flow.log_prob(x, labels) != flow.log_prob(x, (labels + 1) % 3)).all()


def test_a_flow_of_bases_is_written_as_a_spec_and_built_again(tmp_path):
    flow = of_three_latents()
    spec = flow.to_spec()
    assert [step.base.name for step in spec.flow if hasattr(step, "base")] == [
        "base/gaussian_mixture",
        "base/student_t",
    ]
    assert spec.base.name == "base/class_conditional_normal"
    again = Flow.from_spec(spec)
    again.load_state_dict(flow.state_dict())
    labels = torch.tensor(2)
    assert torch.equal(again.eval().sample(3, labels, seed=0), flow.sample(3, labels, seed=0))


BOX = Interval(-1.0, 2.0)


@pytest.mark.parametrize(
    ("layers", "base", "domain"),
    [
        ([FactorOut((4,)), Logit((2,), -1.0, 2.0)], None, (BOX, BOX, REALS, REALS)),
        ([FactorOut((4,)), Sigmoid((2,), -1.0, 2.0)], [StandardNormal((2,)), Uniform((2,), BOX)], REALS),
        ([FactorOut((4,)), ActNorm((2,))], [Uniform((2,), BOX), StandardNormal((2,))], (REALS, REALS, BOX, BOX)),
        ([FactorOut((4,)), Permute((2,))], [Uniform((2,), BOX), Uniform((2,), BOX)], BOX),
        ([Logit((4,), -1.0, 2.0), FactorOut((4,))], None, BOX),
    ],
    ids=[
        "before a bounded layer",
        "onto a bounded base",
        "of a bounded latent",
        "all bounded",
        "after a bounded layer",
    ],
)
def test_the_domain_of_a_flow_with_a_factor_out(layers, base, domain):
    """The event's domain is followed back from every latent. It was that of the first bounded layer, for all values."""
    spec = Flow(layers, base=base).to_spec()
    assert spec.event.domains == domain
    assert read_spec(spec.model_dump(mode="json")) == spec


def test_bases_must_fit():
    layers = [FactorOut((4,)), ActNorm((2,))]
    with pytest.raises(ShapeError, match="1 bases are given, and the flow has 2 latents"):
        Flow(layers, base=[StandardNormal((2,))])
    with pytest.raises(ShapeError, match=r"the base of latent 1 \(StandardNormal\) takes events of shape \[3\]; \[2\]"):
        Flow(layers, base=[StandardNormal((3,)), StandardNormal((2,))])
    with pytest.raises(ShapeError, match=r"the base \(StandardNormal\) takes events of shape \[4\]; \[2\] reaches it"):
        Flow(layers, base=StandardNormal((4,)))


def test_a_network_in_a_base_is_initialized():
    class Recording(MLP):
        seen = None

        def initialize(self, kept, context=None):
            self.seen = kept

    network = Recording((3,), (2, 2), hidden=4)
    flow = Flow([ActNorm((2,))], base=ConditionalNormal((2,), (3,), network), context={"shape": [3]})
    c = torch.randn(8, 3)
    flow.initialize(torch.randn(8, 2), c)
    assert torch.equal(network.seen, c)


def test_a_context_is_needed_for_samples():
    with pytest.raises(InputError, match="this flow is conditional: pass context"):
        of_three_latents().sample(2)


def test_parameters_of_a_base_are_limited_as_those_of_layers():
    spec = {
        "flowkit": 1,
        "event": {"shape": [65536]},
        "flow": [{"use": "glow/permute"}],
        "base": {"use": "base/full_normal"},
    }
    with pytest.raises(ShapeError, match="base: its layer would have more than"):
        Flow.from_spec(spec)


def test_latents_of_another_shape_are_refused():
    flow = Flow([ActNorm((3,))])
    with pytest.raises(InputError, match=r"latents have event shapes \[\(2,\)\]; this flow has \[\(3,\)\]"):
        flow.latent_log_prob([torch.zeros(4, 2)])
