"""Data sets that the package makes itself or reads from local files.

`glyphs` and `omniglot` are for few-shot learning, `noisy_glyphs` for learning to reweight,
`sparse_logistic` for tuning one regulariser a feature. All are torch data sets, so that
`torch.utils.data.DataLoader` reads them; `full_batch` gives a whole one as one batch for ever.
"""

from mlograph.data.batches import FullBatch, full_batch
from mlograph.data.glyph_drawing import Hand, glyphs
from mlograph.data.image_classes import ImageClasses
from mlograph.data.label_noise import noisy_glyphs
from mlograph.data.omniglot_archive import omniglot
from mlograph.data.on_demand import LabelledImages, OnDemand, labelled_images
from mlograph.data.sparse import sparse_logistic

__all__ = [
    "FullBatch",
    "Hand",
    "ImageClasses",
    "LabelledImages",
    "OnDemand",
    "full_batch",
    "glyphs",
    "labelled_images",
    "noisy_glyphs",
    "omniglot",
    "sparse_logistic",
]
