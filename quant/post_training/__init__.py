"""Post-training quantization: a float network and a few hundred frames become a quantized network."""
