"""The analyzer's commands: `check`, `analyze`, `findings`, `analyzer`."""
