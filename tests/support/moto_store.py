"""S3 store of moto over HTTP, which enforces IAM policies once it is locked."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import boto3
import httpx

from support.servers import TRUST, free_port

BUCKET = "scans"


@dataclass(frozen=True)
class Keys:
    """Access key."""

    key: str
    secret: str

    @property
    def toml(self) -> str:
        return f'access_key_id = "{self.key}"\nsecret_access_key = "{self.secret}"'


@dataclass(frozen=True)
class Store:
    """Running store."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, service: str, keys: Keys | None = None) -> Any:
        keys = keys or Keys("admin", "admin")
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=keys.key,
            aws_secret_access_key=keys.secret,
        )

    def user(self, name: str, actions: Sequence[str]) -> Keys:
        """Create a user with these permissions on everything; return its key.

        Call it before `lock`.
        """
        iam = self.client("iam")
        iam.create_user(UserName=name)
        if actions:
            allowed = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
            iam.put_user_policy(UserName=name, PolicyName="of-a-test", PolicyDocument=policy)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return Keys(made["AccessKeyId"], made["SecretAccessKey"])

    def lock(self) -> None:
        """Check keys and policies of each request from now on."""
        httpx.post(
            f"{self.url}/moto-api/reset-auth", content=b"0", trust_env=False, verify=TRUST
        ).raise_for_status()


@contextmanager
def running_store() -> Iterator[Store]:
    """Run a store with an empty bucket, in its own process."""
    store = Store(free_port())
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(store.port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={k: v for k, v in os.environ.items() if not k.startswith("AWS_")},
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert process.poll() is None
            with suppress(httpx.TransportError):
                httpx.get(f"{store.url}/moto-api/", trust_env=False, verify=TRUST)
                break
            time.sleep(0.1)
        store.client("s3").create_bucket(Bucket=BUCKET)
        yield store
    finally:
        process.terminate()
        process.wait()
