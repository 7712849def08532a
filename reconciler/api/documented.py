"""Which fields and words of the answers are known, so that ``doctor`` can say what is new; nothing else depends on it.

The fields are those of the published documents and of the official SDK's models. What an unknown one means for a
plan is not decided here: unknown fields are ignored, and unknown words block by the guards.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from reconciler.safe_text import safe_text

_POOLS: Final = (
    "architecture auto_isolation_enable auto_isolation_max_num autoscale_policy autoscale_type "
    "availability_zone bill_switch charge_mode charging_mode cloud_service_type cluster_id "
    "contain_data_disk cpu cpu_desc created_time data_disk_size data_volumes default_desktop_num "
    "description descriptions desktop_count desktop_name_policy_id desktop_pools desktop_used "
    "disconnected_retention_period domain domain_ids enable_autoscale enterprise_project_id flavor_id "
    "gpu_desc id idle_retention_duration image_id image_name image_os_platform image_os_type "
    "image_os_version image_product_code in_maintenance_mode iops is_gpu isolation_num key kms_id "
    "max_apply_desktop_num max_auto_created memory min_idle min_retention name on_demand_desktop_num "
    "once_auto_created ou_name product product_id resource_spec_code resource_type root_volume "
    "security_groups size status sub_product_list subnet_id subnet_ids system_disk_size "
    "system_disk_type tags throughput total_count type user_reset_policy value volume_product_type "
    "vpc_id "
)
_DESKTOPS: Final = (
    "OS-EXT-IPS-MAC:mac_addr OS-EXT-IPS:type addr addresses attach_state attach_user_infos "
    "availability_zone bill_resource_id charge_mode computer_name cpu create_time created "
    "data_volumes descriptions desktop_id desktop_pool_disk_id desktop_type device display_name "
    "enterprise_project_id flavor flavor_id hrel id in_maintenance_mode inconsistent_types "
    "internet_mode iops ip_addresses is_attaching_eip is_freeze isolated key kms_id links "
    "login_status memory metadata name on_demand_desktops_num order_id os_host_name os_version "
    "ou_name period_desktops_num pool_desktops process product product_id rel root_volume "
    "security_groups sid site_name site_type size status subnet_id tags task_status throughput "
    "total_count type user_group user_group_list user_id user_list user_name value version volume_id "
)
_LATER: Final = (
    "image_cloud_service_type image_resource_type package_type enable reset_count_per_day "
    "on_demand_charge_image_desktops_num on_demand_free_image_desktops_num period_charge_image_desktops_num "
    "period_free_image_desktops_num agent_version domain_status ipv4 ipv6 is_support_internet"
)
"""Of the official SDK's models alone."""
_JOBS: Final = (
    "begin_time desktop_id desktop_name end_time entities error_code fail_reason id ip_address job_id "
    "job_type jobs mac_address message process product_id project_id status total_count user_name "
)
_BACKUPS: Final = (
    "auto_trigger backups bootable checkpoint_id children contain_system_disk count created_at description "
    "destination_backup_id destination_checkpoint_id destination_project_id destination_region destination_vault_id "
    "encrypted enterprise_project_id expired_at extend_info extra_info id image_id image_type incremental is_multi_az "
    "limit name offset os_images_data parent_id project_id protected_at provider_id replication_records resource_az "
    "resource_id resource_name resource_size resource_type scheduled_operation_id snapshot_id source_backup_id "
    "source_checkpoint_id source_project_id source_region status support_lld supported_restore_mode system_disk "
    "updated_at vault_id version"
)
"""Of the backup service: ``BackupResp`` and what it holds (official SDK, ``huaweicloudsdkcbr`` v1)."""
FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "list pools": frozenset(f"{_POOLS}{_DESKTOPS}{_LATER}".split()),
    "list desktops": frozenset(f"{_POOLS}{_DESKTOPS}{_LATER}".split()),
    "list sub-jobs": frozenset(_JOBS.split()),
    "list backups": frozenset(_BACKUPS.split()),
}
"""Every field of the answers to a call, however deep, by the call's name in messages."""
_OPEN: Final = frozenset({"metadata", "addresses", "extra_info", "replication_records"})
"""Fields whose keys are data and no names of fields."""
_VOLUME_TYPES: Final = frozenset(["SATA", "SAS", "SSD", "GPSSD", "ESSD", "GPSSD2"])
WORDS: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "list pools": {
        "desktop_pools.status": frozenset(["STEADY", "TEMPORARY", "EXIST_FROZEN", "UNKNOWN"]),
        "desktop_pools.type": frozenset(["DYNAMIC", "STATIC"]),
        "desktop_pools.charging_mode": frozenset("01"),
        "desktop_pools.data_volumes.type": _VOLUME_TYPES,
    },
    "list desktops": {
        "pool_desktops.status": frozenset(["ACTIVE", "SHUTOFF", "ERROR", "HIBERNATED"]),
        "pool_desktops.login_status": frozenset(
            ["UNREGISTER", "REGISTERED", "CONNECTED", "DISCONNECTED", "DISCONNECT"]
        ),
        "pool_desktops.data_volumes.type": _VOLUME_TYPES,
    },
    "list sub-jobs": {
        "jobs.status": frozenset(["SUCCESS", "COMPLETE", "FAIL", "FAILED", "RUNNING", "WAITING", "INIT"])
    },
    "list backups": {
        "backups.status": frozenset(
            [
                "available",
                "protecting",
                "deleting",
                "restoring",
                "error",
                "waiting_protect",
                "waiting_delete",
                "waiting_restore",
            ]
        ),
        "backups.image_type": frozenset(["backup", "replication"]),
    },
}
"""Words of an answer (documented, or seen in other clients), by call and path."""
LONGEST: Final = 80
"""Characters of an unknown field or word that are shown."""


def unknown(call: str, body: bytes) -> Iterator[str]:
    """What an answer holds that this version does not know: paths of fields, and words with their path."""
    if call not in FIELDS:
        return
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        return  # the client says so
    yield from _unknown(call, document, "")


def _unknown(call: str, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _unknown(call, each, path)
    elif isinstance(value, dict):
        for key, each in value.items():
            inside = f"{path}.{key}".removeprefix(".")
            if key not in FIELDS[call]:
                yield f"field {_short(inside)}"
            elif key not in _OPEN:
                yield from _unknown(call, each, inside)
    elif isinstance(value, str) and path in WORDS[call] and value and value not in WORDS[call][path]:
        yield f"{path} {_short(value)!r}"


def _short(text: str) -> str:
    return safe_text(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")
