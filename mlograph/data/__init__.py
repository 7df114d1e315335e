"""Data sets that the package makes itself or reads from local files.

`glyphs` and `omniglot` are for few-shot learning, `noisy_glyphs` for learning to reweight
(`noisy_labels` and `long_tail` make such sets of others, `numbered` tells their samples apart),
`sparse_logistic` for tuning one regulariser a feature; `digits`, with scikit-learn, are real, and
so are `fashion_mnist`, from a local folder, and whatever else `idx_images` reads. All are torch
data sets, so that `torch.utils.data.DataLoader` reads them; `full_batch` gives a whole one as one
batch for ever, and `learned` what another run has learned.
"""

from mlograph.data.batches import FullBatch, full_batch
from mlograph.data.earlier_run import learned
from mlograph.data.glyph_drawing import Hand, glyphs
from mlograph.data.handwritten_digits import digits
from mlograph.data.idx_files import fashion_mnist, idx_images
from mlograph.data.image_classes import ImageClasses
from mlograph.data.label_noise import long_tail, noisy_glyphs, noisy_labels, numbered
from mlograph.data.omniglot_archive import omniglot
from mlograph.data.on_demand import LabelledImages, OnDemand, labelled_images
from mlograph.data.sparse import sparse_logistic

__all__ = [
    "FullBatch",
    "Hand",
    "ImageClasses",
    "LabelledImages",
    "OnDemand",
    "digits",
    "fashion_mnist",
    "full_batch",
    "glyphs",
    "idx_images",
    "labelled_images",
    "learned",
    "long_tail",
    "noisy_glyphs",
    "noisy_labels",
    "numbered",
    "omniglot",
    "sparse_logistic",
]
