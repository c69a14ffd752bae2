"""How good finished models are: figures with intervals, under conditions, in audio that goes on, beside others, on a device."""
