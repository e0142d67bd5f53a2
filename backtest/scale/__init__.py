"""Work that is split into shards, survives being killed, and goes on where it stopped."""
