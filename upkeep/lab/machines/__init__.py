"""Real systemd hosts on this machine, for whoever is root: PID 1, sshd, journal, own disk and network, reboots and power cuts.

Each host is a `systemd-nspawn --boot` over one shared root filesystem, with an ext4 image of its own and a network namespace on
a bridge in a control namespace. The controller runs inside that control namespace, so a cut is seen exactly as on a real network.
"""
