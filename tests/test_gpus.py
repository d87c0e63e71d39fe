"""Ray's GPUs, of which a cluster may have any number without a real one: who takes how many."""

import os
import warnings

import pytest
import ray
import small

from rl import cluster, loop


class Sees:
    def devices(self):
        return os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE")


def test_gpus_are_shared_out():
    with cluster.start(inline=True) as inline:
        assert inline.gpu_share(3) == 0
    with warnings.catch_warnings():  # JAX warns of forks. These execute another program at once.
        warnings.filterwarnings("ignore", message=r"os\.fork\(\)", category=RuntimeWarning)
        ray.init(address="local", num_gpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        with cluster.start() as here:
            assert [here.gpu_share(wanted) for wanted in (1, 2, 3, 4, 5)] == [1, 1, 1 / 2, 1 / 2, 1 / 3]
            whole = here.spawn(Sees, name="whole", accelerator=True, gpus=1)
            half = here.spawn(Sees, name="half", count=2, accelerator=True, gpus=here.gpu_share(3))
            first, _ = cluster.get(whole.call("devices"))
            shared = [cluster.get(half.call("devices")) for _ in range(2)]
            assert {first} | {device for device, _ in shared} == {"0", "1"}
            assert {setting for _, setting in shared} == {"false"}
            with pytest.raises(ValueError, match="wants 2 GPUs for the learner, and num_workers=1 one each"):
                loop._spawn(here, small.run_config(mesh={"fsdp": 2}), 8)
    finally:
        ray.shutdown()
