"""The documents that people write, read with file, line and key for everything that is wrong in them."""

from upkeep.documents.ansible import from_ansible
from upkeep.documents.checks import load_catalogue
from upkeep.documents.loading import built_in_profiles, load_inventory, load_plan, load_profile, profile_path
from upkeep.documents.resolving import resolve

__all__ = [
    "built_in_profiles",
    "from_ansible",
    "load_catalogue",
    "load_inventory",
    "load_plan",
    "load_profile",
    "profile_path",
    "resolve",
]
