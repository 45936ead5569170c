"""Checks plugins for conformance: a plugin author runs it on layers of their own.

```python
from flowkit.testing import BijectorSubject, check_bijector, parametrize_with_checks


def test_my_layer():
    check_bijector(lambda: MyLayer((4, 3, 2)))


def test_with_what_is_known_to_fail():
    check_bijector(lambda: MyLayer((4, 3, 2)), expected_failures={"export": "needs an operator that ONNX lacks"})


@parametrize_with_checks({"image": BijectorSubject(lambda: MyLayer((4, 3, 2)))})
def test_one_by_one(subject, check):
    check(subject)
```

Every kind has a subject. ``check(TransformerSubject(MyTransformer))`` checks a transformer.

``CHECKS`` has the checks of each kind by their ids. ``flowkit plugins check`` runs them on an installed plugin.
"""

from flowkit.testing.catalog import CHECKS, SLOW_CHECKS, purpose, select
from flowkit.testing.installed import plugin_subjects
from flowkit.testing.parametrize import parametrize_with_checks
from flowkit.testing.perturbation import perturb
from flowkit.testing.run import Result, check, check_bijector, run, run_check
from flowkit.testing.subjects import (
    BaseSubject,
    BijectorSubject,
    ConditionerSubject,
    DatasetSubject,
    EncoderSubject,
    MaskedConditionerSubject,
    NotApplicable,
    OrderSubject,
    PluginSubject,
    SplitSubject,
    Subject,
    TransformerSubject,
)

__all__ = [
    "CHECKS",
    "SLOW_CHECKS",
    "BaseSubject",
    "BijectorSubject",
    "ConditionerSubject",
    "DatasetSubject",
    "EncoderSubject",
    "MaskedConditionerSubject",
    "NotApplicable",
    "OrderSubject",
    "PluginSubject",
    "Result",
    "SplitSubject",
    "Subject",
    "TransformerSubject",
    "check",
    "check_bijector",
    "parametrize_with_checks",
    "perturb",
    "plugin_subjects",
    "purpose",
    "run",
    "run_check",
    "select",
]
