"""What was lived through: episodes as records, and the collector that makes them."""
