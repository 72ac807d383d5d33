"""Settings of the access to a bucket."""

from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import SecretStr, field_validator, model_validator

from iiif_server.options import ConflictError, Expects, OptionsModel

SCHEMES = ("s3", "gs", "az")


class BucketOptions(OptionsModel):
    """Settings of the access to a bucket, besides its URL."""

    endpoint: Annotated[str, Expects('a URL such as "https://minio.example.org"')] | None = None
    """URL of a compatible store, which may have any IP address; unset: the public one of Amazon,
    Google or Azure."""
    region: str | None = None
    """Region of an S3 bucket."""
    account: str | None = None
    """Storage account of Azure; unset: that of `AZURE_STORAGE_ACCOUNT_NAME`."""
    anonymous: bool = False
    """Whether requests have no credentials, for public buckets."""
    profile: str | None = None
    """AWS profile with the credentials; needs the package boto3."""
    access_key_id: str | None = None
    """Access key of S3; unset: that of the environment, or the role of the machine."""
    secret_access_key: SecretStr | None = None
    """Secret access key of S3."""
    ca_file: Path | None = None
    """PEM file of certificate authorities to trust besides the public ones."""

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, endpoint: str | None) -> str | None:
        parts = urlsplit(endpoint or "https://example.org")
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
            raise ValueError("the endpoint must begin with http:// or https:// and a host")
        return endpoint

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            names = ["access_key_id", "secret_access_key"]
            given, other = names if self.secret_access_key is None else reversed(names)
            raise ConflictError([((given,), f"{given} needs {other}")])
        return self

    def check_scheme(self, scheme: str) -> None:
        """Raise ValueError for a setting that stores of this scheme do not have."""
        only_s3 = {
            "region": self.region,
            "profile": self.profile,
            "access_key_id": self.access_key_id,
        }
        for name, value in only_s3.items():
            if value is not None and scheme != "s3":
                raise ValueError(f"{name} is for s3:// only")
        if self.account is not None and scheme != "az":
            raise ValueError("account is for az:// only")

    def config(self, scheme: str) -> dict[str, Any]:
        """Settings of obstore for a scheme."""
        endpoint = "base_url" if scheme == "gs" else "endpoint"
        secret = self.secret_access_key
        found = {
            endpoint: self.endpoint,
            "region": self.region,
            "account_name": self.account,
            "skip_signature": self.anonymous or None,
            "access_key_id": self.access_key_id,
            "secret_access_key": secret.get_secret_value() if secret is not None else None,
        }
        return {name: value for name, value in found.items() if value is not None}
