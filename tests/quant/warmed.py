"""Networks whose quantizers and BatchNorms have seen data."""


def warm(model, x):
    """Runs ``x`` twice in training mode; returns the model in evaluation mode."""
    for _ in range(2):
        model(x)
    return model.eval()
