"""``depthwise`` of wide operands in lookup tables, without multipliers."""
