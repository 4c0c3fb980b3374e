"""Language models that explain and judge: one in this process, or one behind an endpoint."""

from pellucid.features.language.base import LanguageModel
from pellucid.features.language.causal import CausalModel
from pellucid.features.language.endpoint import Endpoint, EndpointConfig, EndpointError

__all__ = ["CausalModel", "Endpoint", "EndpointConfig", "EndpointError", "LanguageModel"]
