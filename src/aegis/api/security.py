"""`/v1/security`: who changed what, who may do what, what is encrypted; the operator's alone."""

from __future__ import annotations

from fastapi import APIRouter

from aegis.api import security_audit, security_roles

__all__ = ["router"]

router = APIRouter(prefix="/v1/security", tags=["security"])
router.include_router(security_audit.router)
router.include_router(security_roles.router)
