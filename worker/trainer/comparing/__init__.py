"""Reports side by side: what differs, by how much, and what that decides."""
