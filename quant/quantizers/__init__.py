"""What the schemes are made of: quantizing functions, injectors, optimizers."""
