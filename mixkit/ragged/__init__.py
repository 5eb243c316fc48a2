"""Samples of different sizes: one packed form in which they are mixed, and a door for each form in which they come."""

from mixkit.ragged.elements import RaggedSet
from mixkit.ragged.forms import Form, RaggedBatch, open_form
from mixkit.ragged.packed import Packed
from mixkit.ragged.pairing import Pairing, check_size, pair_up
from mixkit.ragged.plan import RaggedPlan

__all__ = ["Form", "Packed", "Pairing", "RaggedBatch", "RaggedPlan", "RaggedSet", "check_size", "open_form", "pair_up"]
