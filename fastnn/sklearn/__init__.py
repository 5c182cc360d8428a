"""fastnn's estimators with scikit-learn's base classes; needs the extra `sklearn`."""

from ..errors import MissingExtraError

try:
    import sklearn.utils.validation
except ImportError as error:
    raise MissingExtraError.of("fastnn.sklearn", "scikit-learn 1.6 or newer", "sklearn") from error
if not hasattr(sklearn.utils.validation, "validate_data"):
    raise MissingExtraError.of("fastnn.sklearn", f"scikit-learn 1.6 or newer (here is {sklearn.__version__})", "sklearn")

from .mlp import MLPClassifier, MLPRegressor
from .perceptron import Perceptron
from .search import search_many

__all__ = ["MLPClassifier", "MLPRegressor", "Perceptron", "search_many"]
