"""What a build of the agent is; written anew into every release."""

VERSION = "0.0.0"
VARIANT = ""
