import pytest

from tests.tiny_models import tiny_model
from tuningfork.models.frozen import FrozenModel
from tuningfork.tuning.soft.defaults import SEARCHED_METHODS
from tuningfork.tuning.soft.method import SoftMethod
from tuningfork.tuning.soft.registry import SOFT_METHODS


@pytest.fixture
def model() -> FrozenModel:
    return tiny_model("llama")


@pytest.fixture(params=[SOFT_METHODS[name] for name in SEARCHED_METHODS], ids=list(SEARCHED_METHODS))
def method(request: pytest.FixtureRequest) -> SoftMethod:
    """A method of each kind; what holds for all of them is tested beside them."""
    found: SoftMethod = request.param
    return found


@pytest.fixture
def any_method() -> SoftMethod:
    """One method, where it does not matter which."""
    return next(iter(SOFT_METHODS.values()))
