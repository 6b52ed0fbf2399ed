"""What may change: axes, criteria, quantizers, and the space that they span over a model's layers."""
