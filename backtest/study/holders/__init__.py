"""What a holder can do: margin, hedges, alerts, precautions."""
