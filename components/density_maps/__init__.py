"""Hand-crafted and learned density maps."""
