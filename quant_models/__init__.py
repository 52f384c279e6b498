"""±1 layers and architectures in Brevitas, data sets, training and checkpoints."""
