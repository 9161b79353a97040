"""The reference MS-720 agent: a real process to maintain, packed into release archives by `upkeep.lab.releases`."""
