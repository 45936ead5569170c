"""Defines the inverse of a rising elementwise map that has no formula: bisection, then two Newton steps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from flowkit.bijectors.loop import fixed_loop

BISECTIONS = 30
"""Steps of bisection. They divide the bracket by 10⁹, which leaves fp32 no digits to find."""
_FLATTEST, _STEEPEST = -30.0, 80.0
"""Bounds on log f' in the Newton steps: 1/f' and its square are finite in fp32. No digit of y is lost in between."""


def numeric_inverse(
    function: Callable[[Tensor], tuple[Tensor, Tensor]],
    y: Tensor,
    low: Tensor,
    high: Tensor,
    bisections: int = BISECTIONS,
) -> tuple[Tensor, Tensor]:
    """Return x with f(x) = y, and log|∂x/∂y|, elementwise.

    Bisection runs without gradients and leaves an error of (high - low) / 2ⁿ. Two Newton steps follow, with gradients.
    Each step squares the error as a function of y and the parameters. So at a solution one step makes the first
    derivatives right, and two steps those up to the third. A Newton step is at most as long as the bracket that is
    left, because rounding makes it worthless where f is flat. The number of steps is fixed, so that a row doesn't
    depend on its batch, and an ONNX graph has the bisection as one Loop. The result has the accuracy of f: its rounding
    error divided by f'(x).

    Gradients for y, and for other tensors that ``function`` reads, such as parameters, are right: first and second
    derivatives, by autograd and by ``torch.func``. torch.compile has the first alone, and torch refuses the second.

    Args:
        function: The map x -> (f(x), log f'(x)), where f rises.
        y: The values to invert f at.
        low: Lower ends of brackets, of the shape of y: f(low) ≤ y.
        high: Upper ends of brackets, of the shape of y: y ≤ f(high).
        bisections: The number n of steps of bisection.

    Returns:
        x and log|∂x/∂y|, both of the shape of y.

    Examples:
        >>> import torch
        >>> from flowkit.bijectors import numeric_inverse
        >>> cube = lambda x: (x**3, torch.log(3 * x**2))
        >>> x, log_derivative = numeric_inverse(cube, torch.tensor([8.0]), torch.tensor([1.0]), torch.tensor([9.0]))
        >>> x, log_derivative.exp()
        (tensor([2.]), tensor([0.0833]))
    """
    with torch.no_grad():
        target = y.clone()  # y may be a view: of a loop that reads a view, torch.export takes twice as long

        def halve(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
            middle = (low + high) / 2
            below = function(middle)[0] < target
            return torch.where(below, middle, low), torch.where(below, high, middle)

        low, high = fixed_loop(halve, bisections, low.detach(), high.detach())
    x, longest = ((low + high) / 2).detach(), (high - low).detach()
    for _ in range(2):
        value, log_slope = function(x)
        step = (y - value) * torch.exp(-log_slope.clamp(_FLATTEST, _STEEPEST))
        excess = (step - step.clamp(-longest, longest)).detach()  # a constant: gradients don't see the limit
        x = x + (step - excess)
    return x, -function(x)[1]
