"""The metrics of a classification network, computed on its device."""

from __future__ import annotations

from torchmetrics import MetricCollection, classification


def classification_metrics(classes: int) -> MetricCollection:
    """Make the metrics of `EpochFinished`: accuracy, precision, recall, f1, macro_f1, confusion.

    They take logits (N, classes) or predicted classes (N,), and labels (N,) int64. Labels are not checked, because
    torchmetrics' checks would wait for the device.
    """
    return MetricCollection(
        {
            "accuracy": classification.MulticlassAccuracy(classes, average="micro", validate_args=False),
            "precision": classification.MulticlassPrecision(classes, average=None, validate_args=False),
            "recall": classification.MulticlassRecall(classes, average=None, validate_args=False),
            "f1": classification.MulticlassF1Score(classes, average=None, validate_args=False),
            "macro_f1": classification.MulticlassF1Score(classes, average="macro", validate_args=False),
            "confusion": classification.MulticlassConfusionMatrix(classes, validate_args=False),
        }
    )
