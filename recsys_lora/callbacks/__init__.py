"""What watches a training run: progress, checkpoints, early stopping, guards, measurements, loggers."""
