"""The remote to which DVC pushes results: a folder, or an address in S3, that is tried before it is written down."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from components.errors import UserError, one_line
from components.workspace.layout import REMOTE
from components.workspace.processes import python_environment

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

S3 = "s3://"
TIMEOUT = 5  # seconds until an address is taken for dead
RIGHTS = {"written": "s3:PutObject", "read": "s3:GetObject", "listed": "s3:ListBucket", "deleted": "s3:DeleteObject"}


def set_remote(address: str, endpoint: str | None = None) -> None:
    """Make `address`, a folder or `s3://BUCKET/PATH`, the default remote in `.dvc/config`; `endpoint` is the URL of a
    server that speaks S3 but is not Amazon's. Credentials are never written: they come from the environment.

    Raises UserError: one of the two holds a secret, or one cannot write, read, list and delete there."""
    check_words(address, endpoint)
    try_out(address, endpoint)
    _dvc("remote", "add", "--default", "--force", REMOTE, address)
    if endpoint:
        _dvc("remote", "modify", REMOTE, "endpointurl", endpoint)


def check_words(address: str, endpoint: str | None) -> None:
    """Raises UserError for credentials in what is to be committed, which are not repeated, and for other addresses."""
    if not address.strip():
        raise UserError("ADDRESS: is empty; give a folder, or s3://BUCKET/PATH")
    for name, words in (("ADDRESS", address), ("--endpoint", endpoint or "")):
        if "://" in words and ("@" in words or urlsplit(words).query):
            raise UserError(
                f"{name}: must have no user, password and query, as it is committed; set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY in the environment"
            )
    if "://" in address and not (address.startswith(S3) and urlsplit(address).netloc):
        raise UserError(f"{address}: must be a folder, or s3://BUCKET/PATH")
    if endpoint and not (address.startswith(S3) and urlsplit(endpoint).scheme in ("http", "https")):
        raise UserError(f"--endpoint {endpoint}: must be a URL such as https://HOST:PORT, of an s3:// address")


def try_out(address: str, endpoint: str | None = None) -> None:
    """Write, read, list and delete a small file below `address`. Raises UserError with what fails there, and why."""
    files, where = _filesystem(address, endpoint), f"{address}{f' at {endpoint}' if endpoint else ''}"
    file, data = f"{address.rstrip('/')}/.try-{secrets.token_hex(8)}", secrets.token_bytes(16)
    steps: dict[str, Callable[[], Any]] = {
        "written": lambda: files.pipe_file(file, data),
        "read": lambda: files.cat_file(file),
        "listed": lambda: files.ls(address, refresh=True) if address.startswith(S3) else files.ls(address),
        "deleted": lambda: files.rm_file(file),
    }
    results = {step: _attempt(attempt, step, where) for step, attempt in steps.items()}
    if results["read"] != data:
        raise UserError(f"{where}: what was written there was read back as something else")


def _filesystem(address: str, endpoint: str | None) -> AbstractFileSystem:
    if not address.startswith(S3):
        from fsspec.implementations.local import LocalFileSystem

        return LocalFileSystem(auto_mkdir=True)
    from s3fs import S3FileSystem  # half a second to import

    limits = {"connect_timeout": TIMEOUT, "read_timeout": 4 * TIMEOUT, "retries": {"max_attempts": 1}}
    return S3FileSystem(endpoint_url=endpoint, config_kwargs=limits, skip_instance_cache=True)


def _attempt(attempt: Callable[[], Any], step: str, where: str) -> Any:
    """What an attempt returns. Raises UserError in the words of someone who has to fix it."""
    from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, NoCredentialsError

    try:
        return attempt()
    except PermissionError as error:
        right = f"; the credentials need {RIGHTS[step]}" if S3 in where else ""
        raise UserError(f"{where}: refused, nothing can be {step} there ({one_line(error)}){right}") from None
    except FileNotFoundError as error:
        raise UserError(f"{where}: there is no such bucket or folder ({one_line(error)}): create it first") from None
    except (EndpointConnectionError, ConnectTimeoutError):
        raise UserError(f"{where}: nothing answers there; see that the server runs, or give --endpoint URL") from None
    except NoCredentialsError:
        raise UserError(f"{where}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from None
    except Exception as error:  # whatever else botocore and aiohttp raise
        raise UserError(f"{where}: nothing can be {step} there ({one_line(error)})") from None


def _dvc(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *words], capture_output=True, text=True, check=False, env=python_environment()
    )
    if done.returncode:
        raise UserError(f"dvc {' '.join(words)}: {' '.join(done.stderr.split())}")
