"""What strangers upload -> checked tensors (numpy, Pillow; no torch)."""
