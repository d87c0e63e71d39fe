"""Checkpoints: exact bits, flipped bits, half checkpoints, full disks, and which are kept."""

import errno
import shutil
import subprocess
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from test_run import files_of_at_most, same_group, some_groups

from rl import checkpoint


class Adam(NamedTuple):
    count: np.ndarray
    mu: dict


def tree():
    weights = np.array([1.5, -np.inf, np.nan, 1e-40], np.float32)
    weights.view(np.uint32)[2] = 0x7FC0BEEF  # A NaN with a payload.
    return {
        "mlp/~/linear": {"w": weights, "b": jnp.arange(6, dtype=jnp.bfloat16).reshape(2, 3)},
        "opt": (Adam(np.array(7, np.int32), {"a": np.zeros((0, 3), np.float32)}), [np.array([True, False])]),
    }


def leaves(value):
    import jax

    return [(leaf.dtype, leaf.shape, np.asarray(leaf).tobytes()) for leaf in jax.tree.leaves(value)]


def test_a_tree_comes_back_bit_for_bit_in_its_structure(tmp_path):
    checkpoint.write_tree(tmp_path / "t", tree())
    back = checkpoint.read_tree(tmp_path / "t", tree())
    assert leaves(back) == leaves(tree())
    assert isinstance(back["opt"][0], Adam)
    assert back["opt"][0].count == 7


def test_a_flipped_bit_is_noticed_and_the_array_named(tmp_path):
    path = tmp_path / "t"
    checkpoint.write_tree(path, {"a": np.zeros(8, np.float32), "b": np.ones(8, np.float32)})
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"the array \['b'\] is corrupt"):
        checkpoint.read_tree(path, {"a": np.zeros(8, np.float32), "b": np.ones(8, np.float32)})


def test_every_damaged_byte_is_noticed(tmp_path):
    path, like = tmp_path / "t", {"a": np.arange(4, dtype=np.float32)}
    checkpoint.write_tree(path, like)
    good = path.read_bytes()
    for place in range(len(good)):
        data = bytearray(good)
        data[place] ^= 0x10
        path.write_bytes(data)
        try:
            back = checkpoint.read_tree(path, like)
        except ValueError:
            continue
        assert leaves(back) == leaves(like)  # A blank in the header, say.


def test_another_tree_names_what_differs(tmp_path):
    checkpoint.write_tree(tmp_path / "t", {"a": np.zeros(2, np.float32), "b": np.zeros(2, np.float32)})
    with pytest.raises(ValueError, match=r"Missing in the file: \[\"\['c'\]\"\]; not expected there: \[\"\['b'\]\"\]"):
        checkpoint.read_tree(tmp_path / "t", {"a": np.zeros(2, np.float32), "c": np.zeros(2, np.float32)})
    checkpoint.write_tree(tmp_path / "t", {"a": np.zeros(2, np.float32)})
    with pytest.raises(ValueError, match=r"\['a'\] is float32 \(2,\), expected float32 \(3,\)"):
        checkpoint.read_tree(tmp_path / "t", {"a": np.zeros(3, np.float32)})
    (tmp_path / "t").write_bytes(b"short")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        checkpoint.read_tree(tmp_path / "t", {"a": np.zeros(3, np.float32)})


def save(run, step, score=None, groups=()):
    partial = checkpoint.begin(run, step)
    checkpoint.write_tree(partial / "learner", {"step": np.full(1000, step, np.int32)})
    return checkpoint.commit(partial, step=step, next_index=8 * step, groups=groups, score=score)


def test_begin_commit_latest(tmp_path):
    assert checkpoint.latest(tmp_path) is None
    groups = some_groups()
    save(tmp_path, 8)
    path = save(tmp_path, 24, score=0.5, groups=groups)
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert (found.step, found.next_index, found.path, found.score) == (24, 192, path, 0.5)
    assert path == tmp_path / "checkpoints" / "000024"
    for a, b in zip(found.groups, groups, strict=True):
        same_group(a, b)
    problems = {group.problem.id: group.problem for group in groups}
    assert all(group.problem is problems[group.problem.id] for group in found.read_groups(problems))


def test_a_half_checkpoint_is_never_taken_for_one(tmp_path):
    save(tmp_path, 8)
    partial = checkpoint.begin(tmp_path, 16)
    checkpoint.write_tree(partial / "learner", {"a": np.zeros(4)})
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.step == 8
    assert list(checkpoint.begin(tmp_path, 16).iterdir()) == []  # What was begun before is gone.


@pytest.mark.parametrize("name", ["learner", "groups.parquet", "state.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_corrupt_checkpoint_is_passed_over(tmp_path, name, damage):
    save(tmp_path, 8)
    file = save(tmp_path, 16, groups=some_groups()) / name
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[len(data) // 2 if name != "state.json" else 0] ^= 1
    if damage == "remove":
        file.unlink()
    else:
        file.write_bytes(data[: len(data) // 2] if damage == "cut" else data)
    with pytest.warns(UserWarning, match="Going back to the checkpoint before it"):
        found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.step == 8


def test_no_whole_checkpoint_is_an_error_not_a_fresh_start(tmp_path):
    (save(tmp_path, 8) / "learner").unlink()
    with pytest.warns(match="learner is missing"), pytest.raises(ValueError, match="None of the 1 checkpoints"):
        checkpoint.latest(tmp_path)


def test_a_checkpoint_can_be_made_again(tmp_path):
    save(tmp_path, 8, score=0.1)
    save(tmp_path, 8, score=0.2)
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.score == 0.2


def kept(run):
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def test_the_last_two_and_the_best_are_kept(tmp_path):
    for step, score in [(1, 0.2), (2, 0.9), (3, 0.9), (4, None), (5, float("nan")), (6, 0.1)]:
        save(tmp_path, step, score)
    removed = checkpoint.prune(tmp_path)
    assert kept(tmp_path) == ["000003", "000005", "000006"]
    assert [path.name for path in removed] == ["000001", "000002", "000004"]
    assert checkpoint.prune(tmp_path) == []


def test_without_scores_the_last_two_are_kept(tmp_path):
    for step in (1, 2, 3):
        save(tmp_path, step)
    checkpoint.prune(tmp_path)
    assert kept(tmp_path) == ["000002", "000003"]


def test_a_copy_that_the_user_made_is_no_checkpoint(tmp_path):
    save(tmp_path, 2)
    shutil.copytree(tmp_path / "checkpoints" / "000002", tmp_path / "checkpoints" / "000002.bak")
    for step in (3, 4):
        save(tmp_path, step)
    checkpoint.prune(tmp_path)
    assert kept(tmp_path) == ["000002.bak", "000003", "000004"]
    shutil.copytree(tmp_path / "checkpoints" / "000002.bak", tmp_path / "checkpoints" / "000009 of old")
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.step == 4


def test_a_file_that_may_not_grow_leaves_the_checkpoint_before(tmp_path):
    save(tmp_path, 8)
    partial = checkpoint.begin(tmp_path, 16)
    with files_of_at_most(1000), pytest.raises(OSError, match="File too large"):
        checkpoint.write_tree(partial / "learner", {"a": np.zeros(1000)})
    assert list(partial.iterdir()) == []
    with files_of_at_most(1000), pytest.raises(OSError, match="File too large"):
        checkpoint.commit(partial, step=16, next_index=0, groups=some_groups())
    assert kept(tmp_path) == ["000008"]


def test_a_full_disk_leaves_the_checkpoint_before(small_disk):
    save(small_disk, 8)
    partial = checkpoint.begin(small_disk, 16)
    with pytest.raises(OSError, match="No space left") as caught:
        checkpoint.write_tree(partial / "learner", {"a": np.random.default_rng(0).random(200_000)})
    assert caught.value.errno == errno.ENOSPC
    assert list(partial.iterdir()) == []
    fill(small_disk / "filler")
    with pytest.raises(OSError, match="No space left") as caught:
        checkpoint.commit(partial, step=16, next_index=0, groups=some_groups())
    assert caught.value.errno == errno.ENOSPC
    assert kept(small_disk) == ["000008"]
    found = checkpoint.latest(small_disk)
    assert found is not None
    assert found.step == 8


def fill(path):
    with path.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)
