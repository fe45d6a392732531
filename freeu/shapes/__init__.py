"""The embedded world: small scenes of coloured shapes, their captions, and the models trained on them.

It exists so that the whole tool runs on a laptop without a download. `scene` says what a scene is, `draw` paints it,
`caption` words it, `degrade` spoils it by a known amount, and `train` makes every weight under configs/models/shapes
from a seed. Importing this package loads nothing heavy.
"""
