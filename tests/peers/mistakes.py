"""Ten mistakes: how each is made in flowkit and in the peers. docs/mistakes.md is written from this by page.py.

The code is run as it stands here: flowkit's by here.py, the peers' by there.py, whose results are in mistakes.json.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """One way to make the mistake with a peer; its last expression is what is shown. No code: it can't be made."""

    name: str
    code: str | None
    remark: str


@dataclass(frozen=True)
class Mistake:
    """The mistake in flowkit, as a spec (YAML) or as Python, and in the peers."""

    title: str
    text: str
    spec: str
    python: str
    peers: tuple[Peer, ...]


MISTAKES = [
    Mistake(
        "An odd height into a squeeze",
        "A squeeze turns blocks of 2×2 pixels into channels, so the height must be even.",
        "flowkit: 1\nevent: {shape: [1, 7, 8]}\nflow:\n  - use: glow/squeeze\n",
        "",
        (
            Peer("nflows", "transforms.SqueezeTransform()(torch.rand(2, 1, 7, 8))", "At the first batch."),
            Peer("normflows", "nf.flows.Squeeze().inverse(torch.rand(2, 1, 7, 8))", "At the first batch."),
            Peer("FrEIA", "Ff.SequenceINN(1, 7, 8).append(Fm.IRevNetDownsampling)", "When the flow is built."),
            Peer("zuko", None, "No layers for images."),
        ),
    ),
    Mistake(
        "A coupling of one channel",
        "A coupling keeps one half of the channels and transforms the other half. One channel has no halves.",
        "flowkit: 1\nevent: {shape: [1, 8, 8]}\nflow:\n"
        "  - coupling: {use: glow/affine}\n    conditioner: {use: glow/convnet}\n",
        "",
        (
            Peer(
                "nflows",
                "transforms.AffineCouplingTransform([1], conv)(torch.rand(2, 1, 8, 8))[0].shape",
                "At the first batch. With a linear network, on vectors, it is accepted: scale and shift are constants.",
            ),
            Peer("normflows", "nf.flows.GlowBlock(1, 8)(torch.rand(2, 1, 8, 8))", "At the first batch."),
            Peer(
                "FrEIA",
                "Fm.AffineCouplingOneSided([(1, 8, 8)], subnet_constructor=conv)([torch.rand(2, 1, 8, 8)])[0][0].shape",
                "Accepted: the image is gone, and the log-det is 0.",
            ),
            Peer(
                "zuko",
                "type(zuko.flows.GeneralCouplingTransform(1)).__name__",
                "On purpose: an affine map with free parameters takes the coupling's place.",
            ),
        ),
    ),
    Mistake(
        "Events of another shape",
        "A flow of 3 values is given a batch of 5 events with 1 value each.",
        "",
        'flow = Flow.from_spec({"flowkit": 1, "event": {"shape": [3]}, "flow": [{"use": "glow/actnorm"}]})\n'
        "flow.log_prob(torch.ones(5, 1))\n",
        (
            Peer(
                "nflows",
                "flows.Flow(transforms.ActNorm(3), distributions.StandardNormal([3])).eval()"
                ".log_prob(torch.ones(5, 1))",
                "Accepted: broadcasting repeats the value three times. Its couplings do check: "
                '"Expected features = 3, got 1."',
            ),
            Peer(
                "normflows",
                "nf.NormalizingFlow(nf.distributions.DiagGaussian(3), [nf.flows.AffineConstFlow((3,))])"
                ".log_prob(torch.ones(5, 1))",
                "Accepted, the same.",
            ),
            Peer(
                "FrEIA",
                "inn = Ff.SequenceINN(3); inn.append(Fm.LearnedElementwiseScaling); inn(torch.ones(5, 1))[0].shape",
                "Accepted, the same.",
            ),
            Peer("zuko", "zuko.flows.NSF(3)().log_prob(torch.ones(5, 1))", "The error comes from the first network."),
        ),
    ),
    Mistake(
        "A scale that can reach 0",
        "A scale of 0 can't be inverted. In flowkit one sets bounds of an affine coupling's scale, in FrEIA a clamp a "
        "for exp(±a), and in zuko a least slope. nflows and normflows have no such setting, so the most similar one is "
        "shown.",
        "flowkit: 1\nevent: {shape: [4]}\nflow:\n"
        "  - coupling: {use: glow/affine, scale: [0, 4]}\n    conditioner: {use: glow/mlp}\n",
        "",
        (
            Peer(
                "nflows",
                'transforms.PiecewiseRationalQuadraticCouplingTransform([1, 0], net, num_bins=8, tails="linear", '
                "min_derivative=-2.0)(torch.rand(6, 2))[1]",
                "Accepted: the spline is not monotonic. Its affine scale is fixed, sigmoid(t + 2) + 0.001. Too wide "
                'bins are refused: "Minimal bin width too large for the number of bins".',
            ),
            Peer(
                "normflows",
                "nf.flows.CoupledRationalQuadraticSpline(2, 1, 8, tail_bound=-1)(torch.rand(6, 2))[1]",
                "Accepted: it is the identity, because all values are outside [1, -1]. Its affine scale is exp(t) or "
                "sigmoid(t + 2).",
            ),
            Peer(
                "FrEIA",
                "Fm.AffineCouplingOneSided([(4,)], subnet_constructor=net, clamp=0.0)([torch.rand(2, 4)])[1]",
                "Accepted: the scale is 1, whatever the network says.",
            ),
            Peer(
                "zuko",
                "zuko.flows.NSF(3, slope=0)().log_prob(torch.rand(2, 3))",
                "At the first batch. The default, 0.001, keeps affine scales between 0.001 and 1000.",
            ),
        ),
    ),
    Mistake(
        "Misspelt names and options",
        "flowkit reports all misspelt words at once. The examples for the others misspell an option that is a string. "
        "With all four, a misspelt class or keyword is a clear AttributeError or TypeError of Python.",
        "flowkit: 1\nevent: {shape: [4]}\nflow:\n  - use: glow/actnrom\n"
        "  - coupling: {use: glow/affine, scale: sigmod}\n    conditioner: {use: glow/mlp, hiden: 64}\n",
        "",
        (
            Peer(
                "nflows",
                'transforms.PiecewiseRationalQuadraticCouplingTransform([1, 0], net, tails="liner")(torch.rand(2, 2))',
                "At the first batch.",
            ),
            Peer(
                "normflows",
                'nf.flows.AffineCouplingBlock(net(2, 4), scale_map="sigmod")(torch.rand(2, 4))',
                "At the first batch.",
            ),
            Peer(
                "FrEIA",
                'Fm.AffineCouplingOneSided([(4,)], subnet_constructor=net, clamp_activation="TAHN")',
                "When the layer is built.",
            ),
            Peer(
                "zuko",
                "zuko.flows.NSF(4, hiden_features=[64])",
                "It has no options that are strings, so a keyword is shown.",
            ),
        ),
    ),
    Mistake(
        "The context is missing",
        "A conditional flow of 3 values, with a context of 2 values, is asked for p(x) instead of p(x | context).",
        "",
        "flow = Flow.from_spec(\n    {\n"
        '        "flowkit": 1,\n'
        '        "event": {"shape": [3]},\n'
        '        "context": {"shape": [2]},\n'
        '        "flow": [{"coupling": {"use": "glow/affine"}, "conditioner": {"use": "glow/mlp"}}],\n'
        "    }\n)\n"
        "flow.log_prob(torch.rand(5, 3))\n",
        (
            Peer(
                "nflows",
                "flows.Flow(transforms.MaskedAffineAutoregressiveTransform(3, 8, context_features=2), "
                "distributions.StandardNormal([3])).log_prob(torch.rand(5, 3))",
                "Accepted: the result isn't a density that was trained. Couplings with its residual networks raise an "
                "error. A context of another length is refused well: "
                '"Number of input items must be equal to number of context items."',
            ),
            Peer(
                "normflows",
                "nf.ConditionalNormalizingFlow(nf.distributions.DiagGaussian(3), "
                "[nf.flows.MaskedAffineAutoregressive(3, 8, context_features=2)]).log_prob(torch.rand(5, 3))",
                "Accepted, the same. Its coupling splines raise an error.",
            ),
            Peer(
                "FrEIA",
                "inn = Ff.SequenceINN(3); inn.append(Fm.AllInOneBlock, cond=0, cond_shape=(2,), "
                "subnet_constructor=net); inn(torch.rand(5, 3))",
                "At the first batch.",
            ),
            Peer(
                "zuko",
                "zuko.flows.NSF(3, context=2)().log_prob(torch.rand(5, 3))",
                "The error comes from the first network.",
            ),
        ),
    ),
    Mistake(
        "Integers where a density needs continuous values",
        "If a density is fitted to integers without noise, it can grow without limit, and its scores mean nothing. "
        "If a spec has `levels`, flowkit adds the noise. No library, flowkit included, notices `log_prob(k.float())`.",
        "",
        "flow = Flow.from_spec(\n"
        '    {"flowkit": 1, "event": {"shape": [3], "levels": 256}, '
        '"flow": [{"use": "glow/rescale"}, {"use": "glow/actnorm"}]}\n'
        ")\n"
        "k = torch.tensor([[0, 128, 255], [3, 3, 3]], dtype=torch.uint8)\n"
        "flow.log_prob(k)\n",
        (
            Peer(
                "nflows",
                "flows.Flow(transforms.ActNorm(3), distributions.StandardNormal([3])).eval().log_prob(k)",
                "Accepted. With a network in the flow: `mat1 and mat2 must have the same dtype`.",
            ),
            Peer(
                "normflows",
                "nf.NormalizingFlow(nf.distributions.DiagGaussian(3), [nf.flows.AffineConstFlow((3,))]).log_prob(k)",
                "The message is about types, not about densities.",
            ),
            Peer(
                "FrEIA",
                "inn = Ff.SequenceINN(3); inn.append(Fm.LearnedElementwiseScaling); inn(k)",
                "Accepted. With a network in the flow: `mat1 and mat2 must have the same dtype`.",
            ),
            Peer("zuko", "zuko.flows.NSF(3)().log_prob(k)", "The message is about types, not about densities."),
        ),
    ),
    Mistake(
        "Layers that don't fit",
        "This mistake is possible only in Python. In a spec, each layer gets the shape that reaches it, as in FrEIA.",
        "",
        "Flow([ActNorm((4,)), ActNorm((3,))])\n",
        (
            Peer(
                "nflows",
                "transforms.CompositeTransform([transforms.ActNorm(4), transforms.ActNorm(3)])"
                "(torch.rand(5, 4))[0].shape",
                "Accepted: at its first batch the second ActNorm grows to 4.",
            ),
            Peer(
                "normflows",
                "nf.NormalizingFlow(nf.distributions.DiagGaussian(4), "
                "[nf.flows.ActNorm((4,)), nf.flows.ActNorm((3,))]).log_prob(torch.rand(5, 4)).shape",
                "Accepted, the same.",
            ),
            Peer(
                "FrEIA",
                "inn = Ff.SequenceINN(4); inn.append(Fm.FixedLinearTransform, M=torch.eye(3)); inn(torch.rand(5, 4))",
                "Layers get their shapes from FrEIA, but a matrix may have another size. The error comes at the first "
                "batch.",
            ),
            Peer(
                "zuko",
                "zuko.flows.GeneralCouplingTransform(3)()(torch.rand(5, 4)).shape",
                "Accepted: the fourth column of the result is uninitialized memory.",
            ),
        ),
    ),
    Mistake(
        "NaN in the data",
        "One value of one event is NaN. flowkit checks all data before it trains, as in this example. In Python, "
        "`flow.log_prob` of such a batch is NaN for this event alone, as in zuko.",
        "",
        'numpy.save("x.npy", numpy.float32([[0, 1, 2], [3, numpy.nan, 5], [6, 7, 8]] * 4))\n'
        'flow = [{"use": "glow/actnorm"}]\n'
        'data = {"use": "data/npy", "path": "x.npy"}\n'
        'load_data(read_spec({"flowkit": 1, "event": {"shape": [3]}, "flow": flow, "data": data}))\n',
        (
            Peer(
                "nflows",
                "flows.Flow(transforms.ActNorm(3), distributions.StandardNormal([3])).log_prob(with_nan)",
                "Accepted: ActNorm takes its scale from the first batch, and stays NaN.",
            ),
            Peer(
                "normflows",
                "nf.NormalizingFlow(nf.distributions.DiagGaussian(3), [nf.flows.ActNorm((3,))]).log_prob(with_nan)",
                "Accepted, the same.",
            ),
            Peer(
                "FrEIA",
                "inn = Ff.SequenceINN(3); inn.append(Fm.ActNorm); inn(with_nan)[1]",
                "Accepted, the same.",
            ),
            Peer("zuko", "zuko.flows.NSF(3)().log_prob(with_nan)", "Accepted: NaN for that event alone."),
        ),
    ),
    Mistake(
        "Weights of another flow",
        "The spec of a finished run was edited: it has 4 values now, but the run was trained with 3.",
        "",
        'Flow.load("runs/moons")\n',
        (
            Peer(
                "nflows",
                "transforms.ActNorm(3).load_state_dict(transforms.ActNorm(4).state_dict())",
                "torch's message: every tensor that differs.",
            ),
            Peer(
                "nflows",
                "a = transforms.LULinear(3, using_cache=True).eval(); b = transforms.LULinear(3, identity_init=False); "
                "a(x); a.load_state_dict(b.state_dict()); torch.equal(a(x)[0], b(x)[0])",
                "These weights fit. But the layer was used before, and its cache keeps the old weights.",
            ),
            Peer(
                "normflows",
                "nf.flows.ActNorm((3,)).load_state_dict(nf.flows.ActNorm((4,)).state_dict())",
                "torch's message.",
            ),
            Peer("FrEIA", "Fm.ActNorm([(3,)]).load_state_dict(Fm.ActNorm([(4,)]).state_dict())", "torch's message."),
            Peer(
                "zuko",
                "zuko.flows.NSF(3).load_state_dict(zuko.flows.NSF(4).state_dict())",
                "torch's message.",
            ),
        ),
    ),
]
