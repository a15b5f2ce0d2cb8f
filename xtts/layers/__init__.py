"""The parts that the model's sub-networks are built of."""
