"""Saliency-guided mixing of training samples, in any domain whose samples are sets of elements with coordinates."""

from mixkit import functional, methods
from mixkit.adaptive import Adaptive, steady
from mixkit.assignment import assign, assign_cost
from mixkit.attention import AttentionMixer
from mixkit.bank import SaliencyBank
from mixkit.collate import Collate
from mixkit.confidence import label_confidence
from mixkit.domain import Domain
from mixkit.draws import rank_generator
from mixkit.elements import ElementSet
from mixkit.factory import create_mixer
from mixkit.grid import Grid
from mixkit.labels import PerElement, PerSample
from mixkit.losses import soft_cross_entropy
from mixkit.manifold import ManifoldMixer
from mixkit.methods import Method, PlanContext
from mixkit.metrics import hard_targets
from mixkit.mixer import Mixer
from mixkit.plan import MixPlan
from mixkit.ragged import Packed, RaggedPlan, RaggedSet
from mixkit.registry import list_domains, list_methods, register_domain, register_method
from mixkit.saliency import GradientSaliency
from mixkit.samples import Samples
from mixkit.schedule import Schedule, list_schedules
from mixkit.source import SaliencySource
from mixkit.stages import watch_stages
from mixkit.warm import warm_up

__version__ = "0.1.0"

__all__ = [
    "Adaptive",
    "AttentionMixer",
    "Collate",
    "Domain",
    "ElementSet",
    "GradientSaliency",
    "Grid",
    "ManifoldMixer",
    "Method",
    "MixPlan",
    "Mixer",
    "Packed",
    "PerElement",
    "PerSample",
    "PlanContext",
    "RaggedPlan",
    "RaggedSet",
    "SaliencyBank",
    "SaliencySource",
    "Samples",
    "Schedule",
    "assign",
    "assign_cost",
    "create_mixer",
    "functional",
    "hard_targets",
    "label_confidence",
    "list_domains",
    "list_methods",
    "list_schedules",
    "methods",
    "rank_generator",
    "register_domain",
    "register_method",
    "soft_cross_entropy",
    "steady",
    "warm_up",
    "watch_stages",
]
