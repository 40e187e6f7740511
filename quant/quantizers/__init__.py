"""Building blocks of the schemes: quantizing functions, tensor quantizers, Brevitas injectors, optimizers."""
