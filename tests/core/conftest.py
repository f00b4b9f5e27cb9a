"""One thread for all tests here: tensors are tiny, and the cores may be shared."""

import torch

torch.set_num_threads(1)
