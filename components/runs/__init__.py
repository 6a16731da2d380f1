"""What a trained run leaves, and counting with it."""
