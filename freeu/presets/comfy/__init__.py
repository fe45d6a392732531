"""ComfyUI's workflows as graphs: how a model goes from what loads it to what samples, in both formats."""
