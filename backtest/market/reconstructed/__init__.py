"""The bundled sample: prices reconstructed between published figures."""
