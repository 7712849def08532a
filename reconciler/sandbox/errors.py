"""The refusals of the simulated service: HTTP status, code and text, in the three shapes the service uses.

The modules that know the rules decide when to refuse.

The service answers in its own shape, the gateway before it in another, and the identity service in a
third. Statuses and codes named ``documented`` or ``observed`` are such; where neither source knows the
code of a refusal, the sandbox uses ``WKS.0001`` (bad request) or ``WKS.00010032`` (conflict), inferred.
"""

from __future__ import annotations


class SandboxError(Exception):
    """The sandbox itself cannot work: its state file or its address is unusable. One sentence says why."""


class Refusal(Exception):
    """An answer other than success."""

    def __init__(self, status: int, body: dict[str, object]) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body


def service(status: int, code: str, message: str) -> Refusal:
    """A refusal by the desktop service itself (documented shape)."""
    return Refusal(status, {"error_code": code, "error_msg": message, "error_detail": message})


def invalid(message: str) -> Refusal:
    """400: the request is malformed, or speaks of something that is not there (observed for pools)."""
    return service(400, "WKS.0001", message)


def unknown_pool(pool_id: str) -> Refusal:
    """400, not 404, for a pool that does not exist (observed)."""
    return invalid(f"The desktop pool {pool_id} does not exist.")


def conflict(status_word: str, operation: str, resource_id: str) -> Refusal:
    """409: something is in no state for this operation (observed code and wording)."""
    message = f"The operation {operation} conflicts with the current status {status_word} of {resource_id}."
    return service(409, "WKS.00010032", message)


def adding_disks() -> Refusal:
    """400: disks are just being added (observed code)."""
    return service(400, "WKS.0407", "The operation is not allowed while disks are being added.")


def backup_invalid(message: str) -> Refusal:
    """400 of the backup service, in its own shape (inferred from the desktop service's)."""
    return Refusal(400, {"error_code": "BackupService.0001", "error_msg": message})


def unknown_job(job_id: str) -> Refusal:
    """404 for a job that does not exist (documented status)."""
    return service(404, "WKS.0404", f"The job {job_id} does not exist.")


def denied(operation: str) -> Refusal:
    """403: these credentials lack the permission (documented shape, gateway's code)."""
    message = f"You are not authorized to perform the operation {operation}."
    body: dict[str, object] = {"error_code": "APIGW.0306", "error_msg": message}
    return Refusal(403, body | {"encoded_authorization_message": "sandbox-encoded-message"})


def gateway(status: int, number: str, message: str) -> Refusal:
    """A refusal by the gateway before the service (documented shape); the request id is added on the way out."""
    return Refusal(status, {"error_msg": message, "error_code": f"APIGW.{number}"})


def identity(status: int, message: str) -> Refusal:
    """A refusal by the identity service (documented shape)."""
    titles = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}
    return Refusal(status, {"error": {"code": status, "message": message, "title": titles[status]}})
