"""Arrays on the device are the arrays, also when what they came from is overwritten."""

import numpy as np
import pytest
import torch
from v2a.training.upload import Upload


def test_without_a_gpu_nothing_is_copied() -> None:
    frames, sound = np.arange(6, dtype=np.uint8).reshape(2, 3), np.ones(4, np.float32)
    first, second = Upload(torch.device("cpu"))(frames, sound)
    assert first.data_ptr() == frames.ctypes.data and second.data_ptr() == sound.ctypes.data


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_keep_what_they_were_while_the_next_ones_are_sent() -> None:
    upload, array = Upload(torch.device("cuda")), np.empty((64, 1024, 1024), np.uint8)
    sent = []
    for value in range(6):
        array[:] = value
        sent += upload(array)
    assert [int(tensor.float().mean()) for tensor in sent] == list(range(6))
