"""The settings of models: which one does what, where it is, what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, get_args

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from graph.context import MODEL_NAME, Role
from graph.models import Access, ModelUnusable, check_model
from server.addresses import HttpAddress

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.language_models import BaseChatModel

ROLES: Final[tuple[Role, ...]] = get_args(Role)

_Model = Annotated[str | None, Field(pattern=MODEL_NAME, max_length=200, description="another model for this role")]
_Address = Annotated[HttpAddress | None, Field(description="address of this role's own model, where it is another one")]
_Key = Annotated[SecretStr | None, Field(description="key to this role's own model, where it is another one")]


class ModelSettings(BaseSettings):
    """What `server.settings.Settings` says of models."""

    research_model: Annotated[
        str, Field(pattern=MODEL_NAME, max_length=200, description="offline, openai:<name>, or provider:<name>")
    ] = "offline"
    openai_api_key: Annotated[SecretStr | None, Field(description="key of the model endpoint")] = None
    openai_base_url: Annotated[HttpAddress | None, Field(description="address of an OpenAI-compatible endpoint")] = None
    research_model_research: _Model = None
    research_model_critique: _Model = None
    research_model_refine: _Model = None
    research_model_synthesize: _Model = None
    openai_base_url_research: _Address = None
    openai_base_url_critique: _Address = None
    openai_base_url_refine: _Address = None
    openai_base_url_synthesize: _Address = None
    openai_api_key_research: _Key = None
    openai_api_key_critique: _Key = None
    openai_api_key_refine: _Key = None
    openai_api_key_synthesize: _Key = None
    model_window_tokens: Annotated[
        int | None,
        Field(ge=2_000, le=10_000_000, description="tokens that a model takes; unset: what is known of it, or 32,000"),
    ] = None
    prices_file: Annotated[Path | None, Field(description="TOML file of what models cost; unset: tokens alone")] = None

    @property
    def role_models(self) -> dict[Role, str]:
        """The roles that have a model of their own, with its name."""
        named: dict[Role, str | None] = {role: getattr(self, f"research_model_{role}") for role in ROLES}
        return {role: name for role, name in named.items() if name is not None}

    def access_of(self, role: Role) -> Access:
        """Where the role's own model is, and the key to it."""
        key: SecretStr | None = getattr(self, f"openai_api_key_{role}")
        return Access(getattr(self, f"openai_base_url_{role}"), key.get_secret_value() if key else None)

    def role_loaders(self) -> dict[Role, Callable[[str], BaseChatModel]]:
        """A loader for each role whose model is reached in a way of its own.

        That way is for the role's own model: another one that a request names goes the usual way.
        """
        return {
            role: _loader(self.role_models.get(role, self.research_model), access)
            for role in ROLES
            if (access := self.access_of(role)) != Access()
        }

    def check_models(self) -> None:
        """Raises `ModelUnusable`, with the name of the variable, for a model that cannot be reached as it is set up."""
        for variable, name, access in self._named():
            try:
                check_model(name, access)
            except ModelUnusable as error:
                raise ModelUnusable(f"{variable}: {error}") from error

    def _named(self) -> list[tuple[str, str, Access]]:
        own = [(f"RESEARCH_MODEL_{r.upper()}", name, self.access_of(r)) for r, name in self.role_models.items()]
        return [("RESEARCH_MODEL", self.research_model, Access()), *own]


def _loader(own: str, access: Access) -> Callable[[str], BaseChatModel]:
    from graph.models import load_model

    return lambda name: load_model(name, access) if name == own else load_model(name)
