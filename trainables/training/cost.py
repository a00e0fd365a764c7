"""What passes and training steps of a backbone cost on a machine. Imports no torch."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """Compute time on one worker, in seconds per image.

    Attributes:
        forward: Time of a forward pass through all stages, frozen.
        from_pixels: Time of a training step of all stages; None for pretrained backbones.
        last_stage: Time of a training step of the last kept stage, by the name of that stage.
        larger: Another side in pixels, larger than the usual one, and the time of a forward pass at it; None
            where that was not measured. Small images keep a net less busy than their area says.
    """

    forward: float
    from_pixels: float | None
    last_stage: dict[str, float]
    larger: tuple[int, float] | None = None

    def forward_at(self, side_px: int | None, usual_px: int) -> float:
        """Return the time of a forward pass at a side: by its area, and between measured sides on their line.

        Args:
            side_px: Side of the input, in pixels; None for the usual one.
            usual_px: Side that `forward` was measured at.

        >>> Cost(1.0, None, {}).forward_at(100, 50), Cost(1.0, None, {}, (200, 6.0)).forward_at(100, 50)
        (4.0, 2.0)
        """
        area, usual = float((side_px or usual_px) ** 2), float(usual_px**2)
        if self.larger is None or area <= usual:
            return self.forward * area / usual
        side, forward = self.larger
        if area >= side**2:
            return forward * area / side**2
        return self.forward + (forward - self.forward) * (area - usual) / (side**2 - usual)
