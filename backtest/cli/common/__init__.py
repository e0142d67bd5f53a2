"""What commands share: options, inputs, outputs, tables."""
