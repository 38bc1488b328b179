"""Every setting of the server, from environment variables."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from graph.models import ModelUnusable
from graph.prices import PricesUnusable, read_prices
from graph.search.engine import SearchUnusable
from graph.search.setup import SearchSetup, check_setup
from server.encryption_key import EncryptionKeyUnusable, read_encryption_keys
from server.model_settings import ModelSettings
from server.search_settings import SearchSettings
from server.trace_settings import TraceSettings


class SettingsInvalid(Exception):
    """The settings cannot be used; the message names the variable and what is allowed."""


class Settings(TraceSettings, ModelSettings, SearchSettings):
    """The server's settings. Construct it with `read_settings()`, which turns errors into one sentence."""

    model_config = SettingsConfigDict(
        env_prefix="", case_sensitive=False, extra="ignore", env_ignore_empty=True, allow_inf_nan=False
    )

    host: Annotated[str, Field(description="address to listen on; other than loopback needs API keys")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="TCP port; 0 takes a free one")] = 8088
    api_keys: Annotated[
        SecretStr | None,
        Field(description="name:key, several with commas, or a file of such lines; or `keys add`"),
    ] = None
    allowed_hosts: Annotated[
        str | None, Field(description="names by which browsers may reach the server through a proxy, with commas")
    ] = None
    data_dir: Annotated[Path, Field(description="folder of the databases")] = Path("data")
    database_url: Annotated[
        SecretStr | None, Field(description="postgresql://…, which several hosts share; unset: SQLite in DATA_DIR")
    ] = None
    encryption_key: Annotated[
        SecretStr | None,
        Field(description="encrypts what is stored: 32 bytes in base64, several with commas, or a file of such lines"),
    ] = None
    role: Annotated[
        Literal["all", "api", "worker"], Field(description="all, api (runs no turns) or worker (takes no requests)")
    ] = "all"
    worker_lease_sec: Annotated[
        float,
        Field(ge=1, le=3600, description="silence of a worker after which others take over its runs (PostgreSQL)"),
    ] = 10
    num_phases: Annotated[int, Field(ge=1, le=1000, description="phases of a run")] = 15
    calls_per_phase: Annotated[int, Field(ge=1, le=100, description="model calls in a phase")] = 4
    target_output_tokens: Annotated[
        int, Field(ge=16, le=100_000, description="length that each call is asked for, in tokens")
    ] = 1500
    intra_phase_cooldown_sec: Annotated[float, Field(ge=0, le=86_400, description="rest between two calls")] = 10
    inter_phase_cooldown_sec: Annotated[float, Field(ge=0, le=86_400, description="rest between two phases")] = 20
    model_attempts: Annotated[int, Field(ge=1, le=20, description="tries of one model call, the first included")] = 6
    model_idle_timeout_sec: Annotated[
        float, Field(gt=0, le=3600, description="silence of a model after which its call is tried again")
    ] = 120
    run_timeout_sec: Annotated[
        float | None, Field(gt=0, le=31_536_000, description="time that a turn may take, restarts included")
    ] = None
    token_budget: Annotated[
        int | None, Field(ge=100, le=1_000_000_000, description="tokens that a turn may cost, in and out")
    ] = None
    max_concurrent_runs: Annotated[int, Field(ge=1, le=10_000, description="runs at once; the rest wait")] = 64
    event_ttl_sec: Annotated[
        float, Field(gt=0, description="time that events are kept behind the end of their turn")
    ] = 604_800
    sse_ping_sec: Annotated[float, Field(gt=0, le=15, description="longest silence on an event stream")] = 15
    shutdown_grace_sec: Annotated[
        float, Field(ge=0, le=3600, description="time that runs get to reach a checkpoint at SIGTERM")
    ] = 10
    demo_mode: Annotated[bool, Field(description="1: the message 'crash' ends the process")] = False
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="debug, info, warning or error")
    ] = "info"
    log_format: Annotated[
        Literal["json", "console"] | None,
        Field(description="json or console; unset: console on a terminal, json elsewhere"),
    ] = None

    @field_validator("log_level", "log_format", "role", mode="before")
    @classmethod
    def _in_lower_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def _postgres_only(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("must begin with postgresql://, or be unset for SQLite in DATA_DIR")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _names_of_hosts(cls, value: str | None) -> str | None:
        if value is not None and any(not re.fullmatch(r"[A-Za-z0-9.:-]+", name.strip()) for name in value.split(",")):
            raise ValueError("must be names of hosts with commas between, without scheme and port")
        return value

    @model_validator(mode="after")
    def _shared_where_split(self) -> Self:
        if self.role != "all" and self.database_url is None:
            raise ValueError(
                f"ROLE={self.role} needs a DATABASE_URL that the hosts share: SQLite has one process alone"
            )
        return self

    def searches(self, index: Path | None) -> SearchSetup:
        """What the search engines need; `index` is the file of the documents' index."""
        return self.search_setup(self.research_model, self.openai_api_key, self.openai_base_url, index)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_settings(**given: str) -> Settings:
    """The settings of this process; `given` come before the environment. Raises `SettingsInvalid` with one sentence."""
    try:
        settings = Settings(**given)  # type: ignore[arg-type]  # words as the environment has them
        settings.check_models()
        check_setup(settings.searches(None))
        if settings.prices_file is not None:
            read_prices(settings.prices_file)
        if settings.encryption_key is not None:
            read_encryption_keys(settings.encryption_key.get_secret_value())
    except ValidationError as error:
        raise SettingsInvalid(_sentence(error)) from error
    except ModelUnusable as error:
        raise SettingsInvalid(str(error)) from error
    except SearchUnusable as error:
        raise SettingsInvalid(f"SEARCH: {error}") from error
    except PricesUnusable as error:
        raise SettingsInvalid(f"PRICES_FILE: {error}") from error
    except EncryptionKeyUnusable as error:
        raise SettingsInvalid(f"ENCRYPTION_KEY: {error}") from error
    return settings


def describe_settings() -> str:
    """A line for each environment variable: name, default, meaning."""
    lines = []
    for name, field in Settings.model_fields.items():
        default = "unset" if field.default is None else field.default
        lines.append(f"  {name.upper():26} {field.description} [{default}]")
    return "\n".join(lines)


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    name = ".".join(str(part) for part in first["loc"]).upper()
    message = first["msg"].removeprefix("Value error, ")
    return f"{name}: {message}" if name else message
