"""Programs that export a trained RegNet for servers and phones."""
