"""Prediction: what a configuration will measure, before it is built."""

from slimfront.search.prediction.predictor import Prediction, Predictor
from slimfront.search.prediction.tables import Tables

__all__ = ["Prediction", "Predictor", "Tables"]
