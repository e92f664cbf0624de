"""One `train()` call: what happens at its steps, phase boundaries and epoch ends."""
