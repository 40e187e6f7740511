"""The steps of a build, one module each; ``flows.steps.step`` says what a step is."""
