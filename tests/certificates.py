"""Certificates for tests, made by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests import needs


def authority_for(folder: Path, name: str) -> Path:
    """A self-signed certificate for this host and for localhost; its key stands beside it."""
    made = folder / f"{name}.pem"
    command = [
        needs.program("openssl"),
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    ]
    command += ["-nodes", "-keyout", str(made.with_suffix(".key")), "-out", str(made), "-days", "2"]
    command += ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    return made
