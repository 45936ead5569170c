"""Everything first-party through the conformance kit, by the call that a third party makes."""

import pytest

from flowkit.testing import SLOW_CHECKS, check
from tests.extent import extent
from tests.plugins.cases import COMPILED, LIKE_OTHERS, MORE_GRAPHS, of_each_class, subjects

SUBJECTS = subjects()
CHECKED = [name for name in SUBJECTS if name not in extent(LIKE_OTHERS, set())]
TRACED = [name for name in SUBJECTS if SLOW_CHECKS[SUBJECTS[name].kind]]
OF_EACH_CLASS = of_each_class(CHECKED)
GRAPHS = [name for name in TRACED if name in extent(OF_EACH_CLASS | MORE_GRAPHS, {*TRACED})]


@pytest.mark.parametrize("name", CHECKED)
def test_conformance(name):
    """All quick checks but tracing, which takes longer than the others together. The graphs below are traced, too."""
    check(SUBJECTS[name], skip=extent(("export",), ()))


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_graphs(name):
    check(SUBJECTS[name], only=("onnx",))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TRACED if name in extent(COMPILED, OF_EACH_CLASS)])
def test_compilation(name):
    """tests/flow/test_compile.py compiles what is made of them."""
    check(SUBJECTS[name], only=("compile",))
