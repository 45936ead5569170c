"""Provides a function for each kind of plugin that checks one thing, and raises an error that lists all failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowkit.bijectors import Base, Bijector, Conditioner, Encoder, MaskedConditioner, Order, Split, Transformer
from flowkit.plugin import Dataset, Shape
from flowkit.testing import subjects
from flowkit.testing.run import check


def check_bijector(
    make: Callable[[], Bijector], context_shape: Shape | None = None, slow: bool = False, **options: Any
) -> None:
    """Check a bijector, and raise an error that lists all failures.

    Keep the event small, at most some 60 values: the Jacobian is computed in full.

    Args:
        make: A function that builds a new one at each call.
        context_shape: The shape of the context that it is given, or None without one.
        slow: Include the checks that take seconds.
        **options: ``domain`` and ``codomain``, such as ``flowkit.plugin.Interval(0, 1)``, ``directions``, such as
            "forward", ``labels=True`` if its context is a one-hot label, ``likelihood`` if its log-dets aren't exact,
            and those of every subject: ``seed``, and ``expected_failures``, the ids of checks that fail for now, each
            with the reason.

    Raises:
        AssertionError: If checks fail. It lists all of them, each with its reason.
    """
    check(subjects.BijectorSubject(make, context_shape, **options), slow)


def check_transformer(
    make: Callable[[], Transformer], event_shape: Shape = (2, 3, 2), slow: bool = False, **options: Any
) -> None:
    """Check a transformer, and raise an error that lists all failures.

    Args:
        make: A function that builds a new one at each call.
        event_shape: The shape of the events that it is checked on.
        slow: Include the checks that take seconds.
        **options: ``domain`` if it isn't the reals, ``directions`` if they aren't both, and those of every subject,
            ``seed`` and ``expected_failures``.

    Raises:
        AssertionError: If checks fail. It lists all of them, each with its reason.
    """
    check(subjects.TransformerSubject(make, event_shape, **options), slow)


def check_split(
    make: Callable[[], Split], shapes: tuple[Shape, Shape] | None = None, slow: bool = False, **options: Any
) -> None:
    """Check a split, and raise an error that lists all failures.

    Args:
        make: A function that builds a new one at each call.
        shapes: The shapes of its parts, as its config's ``split_shapes`` returns them.
        slow: Include the checks that take seconds.
        **options: ``seed`` and ``expected_failures``.

    Raises:
        AssertionError: If checks fail. It lists all of them, each with its reason.
    """
    check(subjects.SplitSubject(make, shapes, **options), slow)


def check_conditioner(
    make: Callable[[], Conditioner],
    kept_shape: Shape,
    params_shape: Shape,
    context_shape: Shape | None = None,
    slow: bool = False,
    **options: Any,
) -> None:
    """Check a conditioner, and raise an error that lists all failures.

    Args:
        make: A function that builds a new one at each call.
        kept_shape: The shape of the kept part that it is made for.
        params_shape: The shape of the parameters that it is made for, [n_params, *transformed].
        context_shape: The shape of the context that it is made for, or None without one.
        slow: Include the checks that take seconds.
        **options: ``labels=True`` if it reads one-hot labels, ``seed`` and ``expected_failures``.

    Raises:
        AssertionError: If checks fail. It lists all of them, each with its reason.
    """
    check(subjects.ConditionerSubject(make, kept_shape, params_shape, context_shape, **options), slow)


def check_masked_conditioner(
    make: Callable[[], MaskedConditioner],
    order: Order,
    params_shape: Shape,
    context_shape: Shape | None = None,
    slow: bool = False,
    **options: Any,
) -> None:
    """Check a masked conditioner, and raise an error that lists all failures.

    Args:
        make: A function that builds a new one at each call.
        order: The order that it is made for. Take one that is neither that of the event nor its reverse, so that masks
            which ignore it are noticed.
        params_shape: The shape of the parameters that it is made for, [n_params, *event].
        context_shape: The shape of the context that it is made for, or None without one.
        slow: Include the checks that take seconds.
        **options: ``labels=True`` if it reads one-hot labels, ``seed`` and ``expected_failures``.

    Raises:
        AssertionError: If checks fail. It lists all of them, each with its reason.
    """
    check(subjects.MaskedConditionerSubject(make, order, params_shape, context_shape, **options), slow)


def check_order(make: Callable[[], Order], **options: Any) -> None:
    """Check an order, and raise an error that lists all failures.

    Args:
        make: A function that builds a new one at each call.
        **options: ``seed`` and ``expected_failures``.

    Raises:
        AssertionError: If checks fail. It lists all of them, each with its reason.
    """
    check(subjects.OrderSubject(make, **options))


def check_base(make: Callable[[], Base], slow: bool = False, **options: Any) -> None:
    """Check a base distribution, and raise an error that lists all failures.

    With events of one or two values the integral of its density is computed too.

    Args:
        make: A function that builds a new one at each call.
        slow: Include the checks that take seconds.
        **options: ``support`` if it isn't the reals, ``context_shape`` if it reads a context, ``labels=True`` if that
            is a one-hot label, ``likelihood`` if its density isn't exact, ``seed`` and ``expected_failures``.

    Raises:
        AssertionError: If checks fail. It lists all of them, each with its reason.
    """
    check(subjects.BaseSubject(make, **options), slow)


def check_encoder(
    make: Callable[[], Encoder], context_shape: Shape, output_shape: Shape, slow: bool = False, **options: Any
) -> None:
    """Check an encoder, and raise an error that lists all failures.

    Args:
        make: A function that builds a new one at each call.
        context_shape: The shape of the contexts that it is made for.
        output_shape: The shape of its summaries, without the batch.
        slow: Include the checks that take seconds.
        **options: ``labels=True`` if it reads one-hot labels, ``seed`` and ``expected_failures``.

    Raises:
        AssertionError: If checks fail. It lists all of them, each with its reason.
    """
    check(subjects.EncoderSubject(make, context_shape, output_shape, **options), slow)


def check_dataset(make: Callable[[], Dataset], **options: Any) -> None:
    """Check a dataset, and raise an error that lists all failures.

    Args:
        make: A function that builds a new one at each call.
        **options: ``seed`` and ``expected_failures``.

    Raises:
        AssertionError: If checks fail. It lists all of them, each with its reason.
    """
    check(subjects.DatasetSubject(make, **options))
