"""Everything first-party through the conformance kit, by the call that a third party makes."""

import pytest

from flowkit.testing import SLOW_CHECKS, check
from tests.extent import extent
from tests.plugins.cases import LIKE_OTHERS, SAME_GRAPHS, of_each_class, subjects

SUBJECTS = subjects()
CHECKED = [name for name in SUBJECTS if name not in extent(LIKE_OTHERS, set())]
GRAPHS = [name for name in SUBJECTS if SLOW_CHECKS[SUBJECTS[name].kind] and name not in extent(SAME_GRAPHS, set())]
OF_EACH_CLASS = extent(of_each_class(name for name in CHECKED if name not in SAME_GRAPHS), {*SUBJECTS})


@pytest.mark.parametrize("name", CHECKED)
def test_conformance(name):
    """All quick checks but tracing, which takes longer than the others together. The graphs below are traced, too."""
    check(SUBJECTS[name], skip=extent(("export",), ()))


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_graphs(name):
    check(SUBJECTS[name], only=("onnx",))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in GRAPHS if name in OF_EACH_CLASS])
def test_compilation(name):
    """Of each class; tests/flow/test_compile.py compiles what is made of them."""
    check(SUBJECTS[name], only=("compile",))
