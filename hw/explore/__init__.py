"""Searching foldings with the resource model: the least hardware for a rate, the best rate for a budget."""

from hw.explore.budget import Budget, Choice, board_budget
from hw.explore.search import fastest, least_hardware

__all__ = ["Budget", "Choice", "board_budget", "fastest", "least_hardware"]
