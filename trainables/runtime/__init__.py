"""The process that runs a trial: devices, memory and checkpoints."""
