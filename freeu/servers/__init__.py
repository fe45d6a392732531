"""Programs that already run a model (ComfyUI, the web UIs) as generators: the workflow or request is the model.

comfyui_model.py, webui_model.py      from `--model` to a spec and a generator
bindings.py, roles.py                 which inputs of a workflow a study sets
template.py                           FreeU, prompt and seed put into the workflow of each image
requests.py                           the same of a web UI's request
comfyui_backend.py, webui_backend.py  behind `Backend` (generator.py): opens servers, checks, draws
comfyui.py, webui.py                  the HTTP API: asks for an image; progress.py looks on
pool.py                               hands images out to several servers
findings.py                           what the first images say of the servers
"""
