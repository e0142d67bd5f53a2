"""Options of object storage: those that polars' readers know, so that a misspelt one is refused, not ignored.

Names as polars 1.0 to 2.1 and the readers inside it have them, with or without the prefix of their cloud.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from backtest.errors import ArgumentError, quoted
from backtest.schemas.conversion import meant

AWS = [
    "access_key_id",
    "secret_access_key",
    "region",
    "default_region",
    "bucket",
    "bucket_name",
    "endpoint",
    "endpoint_url",
    "endpoint_url_s3",
    "session_token",
    "token",
    "virtual_hosted_style_request",
    "s3_express",
    "imdsv1_fallback",
    "metadata_endpoint",
    "unsigned_payload",
    "checksum_algorithm",
    "container_credentials_relative_uri",
    "container_credentials_full_uri",
    "container_authorization_token_file",
    "web_identity_token_file",
    "role_arn",
    "role_session_name",
    "endpoint_url_sts",
    "skip_signature",
    "copy_if_not_exists",
    "conditional_put",
    "disable_tagging",
    "disable_bulk_delete",
    "request_payer",
    "server_side_encryption",
    "sse_kms_key_id",
    "sse_bucket_key_enabled",
    "sse_customer_key_base64",
    "allow_http",
    "profile",
]
GOOGLE = [
    "service_account",
    "service_account_path",
    "service_account_key",
    "bucket",
    "bucket_name",
    "base_url",
    "application_credentials",
    "bearer_token",
    "skip_signature",
]
AZURE = [
    "storage_account_key",
    "storage_access_key",
    "storage_master_key",
    "access_key",
    "account_key",
    "master_key",
    "storage_account_name",
    "account_name",
    "storage_client_id",
    "client_id",
    "storage_client_secret",
    "client_secret",
    "storage_tenant_id",
    "storage_authority_id",
    "tenant_id",
    "authority_id",
    "storage_authority_host",
    "authority_host",
    "storage_sas_key",
    "storage_sas_token",
    "sas_key",
    "sas_token",
    "storage_token",
    "bearer_token",
    "token",
    "storage_use_emulator",
    "use_emulator",
    "storage_endpoint",
    "endpoint",
    "msi_endpoint",
    "identity_endpoint",
    "object_id",
    "msi_resource_id",
    "federated_token_file",
    "use_fabric_endpoint",
    "use_azure_cli",
    "skip_signature",
    "container_name",
    "disable_tagging",
    "fabric_token_service_url",
    "fabric_workload_host",
    "fabric_session_token",
    "fabric_cluster_identifier",
    "credential_type",
    "storage_encryption_key",
    "encryption_key",
]
CLIENT = [
    "allow_http",
    "allow_invalid_certificates",
    "connect_timeout",
    "default_content_type",
    "http1_only",
    "http2_only",
    "http2_keep_alive_interval",
    "http2_keep_alive_timeout",
    "http2_keep_alive_while_idle",
    "http2_max_frame_size",
    "pool_idle_timeout",
    "pool_max_idle_per_host",
    "proxy_url",
    "proxy_ca_certificate",
    "proxy_excludes",
    "randomize_addresses",
    "timeout",
    "user_agent",
]
#: Options of polars itself, which takes them as numbers.
WHOLE = [
    "file_cache_ttl",
    "max_retries",
    "retry_timeout_ms",
    "retry_init_backoff_ms",
    "retry_max_backoff_ms",
    "rate_read_init",
    "rate_read_floor",
    "rate_read_ceiling",
    "rate_write_init",
    "rate_write_floor",
    "rate_write_ceiling",
]
FRACTION = ["retry_base_multiplier"]


def _names() -> Iterator[str]:
    for prefix, names in (("aws", AWS), ("google", GOOGLE), ("azure", AZURE)):
        yield from (f"{prefix}_{name}" for name in names)
        yield from names
    yield from (*CLIENT, *WHOLE, *FRACTION)


KNOWN = tuple(dict.fromkeys(_names()))


def require_known(options: Mapping[str, str] | None) -> None:
    """Raise for an option of object storage that no reader has, or whose value is no number where it must be.

    Raises
    ------
    ArgumentError
        With the name that was probably meant.
    """
    for name, value in (options or {}).items():
        if name.lower() not in KNOWN:
            raise ArgumentError(
                f"has no option {quoted(name)}{meant(name, KNOWN)} (those of S3, Google or Azure)",
                argument="storage",
            )
        _number(name, value)


def for_polars(options: Mapping[str, str]) -> dict[str, Any]:
    """Return the options as polars takes them."""
    return {name: _number(name, value) for name, value in options.items()}


def _number(name: str, value: str) -> Any:
    kind = int if name in WHOLE else float if name in FRACTION else str
    try:
        number = kind(value)
    except ValueError:
        number = None
    if number is None or (kind is not str and not 0 <= number < 2**31):  # type: ignore[operator]
        raise ArgumentError(
            f"must have a number from 0 to 2^31 for {name}, has {quoted(value)}", argument="storage"
        )
    return number
