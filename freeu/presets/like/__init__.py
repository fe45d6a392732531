"""The settings that an image was made with: of the web UI, Forge, SD.Next, Fooocus, InvokeAI or ComfyUI."""

from .read import Like, read

__all__ = ["Like", "read"]
