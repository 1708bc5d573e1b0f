"""What a failure is taken for: by exit code, then by type, then by message."""

from __future__ import annotations

import signal

import pytest

from smallsight.attempts.failures import classify


@pytest.mark.parametrize(
    ("exit_code", "exception", "message", "expected"),
    [
        (3, "", "", "interrupted"),
        (3, "RuntimeError", "CUDA out of memory", "interrupted"),
        (-9, "", "", "out_of_memory"),
        (137, "", "", "out_of_memory"),
        (-9, "DatasetError", "a.jpg: can't be read", "bad_data"),
        (-signal.SIGSEGV, "", "", "crashed"),
        (-signal.SIGTERM, "", "", "crashed"),
        (1, "OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB", "out_of_memory"),
        (1, "MemoryError", "", "out_of_memory"),
        (1, "AcceleratorError", "CUDA error: out of memory", "out_of_memory"),
        (1, "RuntimeError", "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried", "out_of_memory"),
        (1, "RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate", "out_of_memory"),
        (1, "RuntimeError", "MPS backend out of memory (MPS allocated: 8 GB)", "out_of_memory"),
        (1, "ArrayMemoryError", "Unable to allocate 7.45 GiB for an array", "out_of_memory"),
        (1, "OSError", "[Errno 12] Cannot allocate memory", "out_of_memory"),
        (1, "error", "OpenCV(4.9.0) error: (-4:Insufficient memory) Failed to allocate 9 bytes", "out_of_memory"),
        (1, "RuntimeError", "DataLoader worker (pid 7) is killed by signal: Killed.", "out_of_memory"),
        (1, "RuntimeError", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "out_of_memory"),
        (1, "ActorDiedError", "The worker was killed because the node was running low on memory.", "out_of_memory"),
        (1, "OutOfMemoryError", "HIP out of memory. Tried to allocate 20.00 MiB", "out_of_memory"),
        (1, "RuntimeError", "unable to allocate 42 bytes of shared memory", "out_of_memory"),
        (1, "RuntimeError", "DataLoader worker (pid(s) 7) exited unexpectedly", "crashed"),
        (1, "RuntimeError", "DataLoader worker (pid 7) is killed by signal: Segmentation fault.", "crashed"),
        (1, "AcceleratorError", "CUDA error: no CUDA-capable device is detected", "crashed"),
        (1, "AcceleratorError", "CUDA error: unspecified launch failure", "crashed"),
        (1, "OSError", "[Errno 28] No space left on device: '/run/checkpoint.pth'", "disk_full"),
        (1, "OSError", "[Errno 122] Disk quota exceeded", "disk_full"),
        (1, "NotANumber", "training loss is nan", "not_a_number"),
        (1, "DatasetError", "a.jpg: can't be read", "bad_data"),
        (2, "DatasetError", "a.jpg: can't be read", "bad_data"),
        (2, "CheckpointError", "x.pth: can't be read as a checkpoint (can't allocate memory)", "out_of_memory"),
        (2, "CheckpointError", "x.pth: damaged", "bad_data"),
        (2, "ConfigError", "training.epochs: wrong", "bad_data"),
        (2, "", "", "bad_data"),
        (1, "ValueError", "wrong shape", "crashed"),
        (1, "", "the training process ended with code 1; see worker.log", "crashed"),
        (1, "", "", "crashed"),
    ],
)
def test_a_failure(exit_code: int, exception: str, message: str, expected: str) -> None:
    assert classify(exit_code, exception, message) == expected
