"""The steps of a build, one module each; ``flows.steps.step`` defines their interface."""
