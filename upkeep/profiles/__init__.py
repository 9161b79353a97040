"""Agent profiles that come with Upkeep; one YAML file each."""
