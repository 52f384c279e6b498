"""A model of what generated hardware costs, fitted to synthesis, which states its own error."""

from hw.resources.fit import FittedModule, FittedResource, fit
from hw.resources.model import FITTED, Amount, Estimate, ResourceModel, load_model, read_model, write_model
from hw.resources.points import RESOURCES, Point, measured

__all__ = [
    "FITTED",
    "RESOURCES",
    "Amount",
    "Estimate",
    "FittedModule",
    "FittedResource",
    "Point",
    "ResourceModel",
    "fit",
    "load_model",
    "measured",
    "read_model",
    "write_model",
]
