"""Where the node keeps its sessions."""
