"""Programs that already run a model (ComfyUI, the web UIs) as generators: the workflow or request is the model."""
