"""Raw data becomes prepared data."""
